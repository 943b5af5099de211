package devstack

// The variables by which commands find a running stack, as `starter dev` writes them to .rollcall/env.
const (
	EnvDatabaseURL = "ROLLCALL_DATABASE_URL"
	EnvTaskQueue   = "ROLLCALL_TASK_QUEUE"
	EnvUIURL       = "ROLLCALL_UI_URL"
	EnvGatewayURL  = "ROLLCALL_GATEWAY_URL"
	EnvCACert      = "ROLLCALL_CA_CERT"
	EnvCAKey       = "ROLLCALL_CA_KEY"
)
