package reference

import "strings"

// setting is one variable of the environment.
type setting struct{ name, programs, meaning string }

const (
	all      = "worker, gateway, starter"
	services = "worker, gateway"
)

// variables are the settings, in the order of the page.
var variables = []setting{
	{"ROLLCALL_DATABASE_URL", all, "PostgreSQL URL of the inventory"},
	{"ROLLCALL_DATABASE_URL_FILE", all, "file that holds this URL, instead of the variable: a systemd credential or a " +
		"mounted secret"},
	{"TEMPORAL_ADDRESS", all, "Temporal's frontend, host:port; `127.0.0.1:7233` by default"},
	{"TEMPORAL_NAMESPACE", all, "namespace; `default` by default"},
	{"TEMPORAL_PROFILE", all, "profile of Temporal's configuration file, as the `temporal` command reads it"},
	{"TEMPORAL_API_KEY", all, "API key for Temporal"},
	{"TEMPORAL_API_KEY_FILE", all, "file that holds the API key, instead of the variable"},
	{"TEMPORAL_TLS_…", all, "TLS for Temporal, as the `temporal` command reads it"},
	{"ROLLCALL_TASK_QUEUE", all, "task queue; `rollcall` by default"},
	{"ROLLCALL_METRICS_LISTEN", services, "address for `/metrics`, `/healthz` and `/readyz`; none by default"},
	{"ROLLCALL_REQUIRE_REASON", "worker", "`true` refuses resumes without a reason"},
	{"ROLLCALL_MAX_SHARE", "worker", "largest share of a roll that one plan may resume, such as `10%`; no " +
		"limit by default"},
	{"ROLLCALL_LOG_FORMAT", services, "`text` (default) or `json`"},
	{"ROLLCALL_LOG_LEVEL", services, "`debug`, `info` (default), `warn` or `error`"},
	{"ROLLCALL_GATEWAY_LISTEN", "gateway", "address for agents; `:7443` by default"},
	{"ROLLCALL_GATEWAY_CERT", "gateway", "PEM file of the gateway's certificate"},
	{"ROLLCALL_GATEWAY_KEY", "gateway", "PEM file of its key"},
	{"ROLLCALL_GATEWAY_REQUESTS_PER_MINUTE", "gateway", "most enrollment requests that are posted from one address in " +
		"a minute; 600 by default"},
	{"ROLLCALL_GATEWAY_MAX_PENDING_REQUESTS", "gateway", "most posted enrollment requests that may be pending; 10000 " +
		"by default"},
	{"ROLLCALL_GATEWAY_REQUEST_TTL", "gateway", "after how long a posted request expires; 24h by default"},
	{"ROLLCALL_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "gateway", "most connections that are open from one address; " +
		"50000 by default"},
	{"ROLLCALL_GATEWAY_MAX_CONNECTIONS_PER_CERTIFICATE", "gateway", "most connections that a device's certificate has " +
		"open; 64 by default"},
	{"ROLLCALL_CA_CERT", "gateway, starter, worker", "PEM file of the authority of the agents' certificates"},
	{"ROLLCALL_CA_KEY", "gateway, starter", "PEM file of the authority's key; the gateway signs approved " +
		"requests with it"},
	{"ROLLCALL_GATEWAY_URL", "starter, worker", "address of the gateway, for `starter check`, `starter simulate` and " +
		"`starter cert`"},
	{"ROLLCALL_CONFIRM_ABOVE", "starter", "share of a roll above which `starter resume` has the count of devices " +
		"confirmed, such as `10%`; `25%` by default"},
	{"ROLLCALL_UI_URL", "starter", "address of Temporal's web UI, for links"},
	{"ROLLCALL_FLIGHTCTL_CONFIG", "worker, starter", "file that `flightctl login` has written, for server, authority, " +
		"token and organisation"},
	{"ROLLCALL_FLIGHTCTL_SERVER", "worker, starter", "URL of Flight Control's API, instead of the file's"},
	{"ROLLCALL_FLIGHTCTL_CA_FILE", "worker, starter", "PEM file of the authority of that server's certificate"},
	{"ROLLCALL_FLIGHTCTL_TLS_SERVER_NAME", "worker, starter", "name that this certificate must have, where it is " +
		"not the URL's"},
	{"ROLLCALL_FLIGHTCTL_TOKEN", "worker, starter", "bearer token for the API"},
	{"ROLLCALL_FLIGHTCTL_TOKEN_FILE", "worker, starter", "file that holds the token, instead of the variable"},
	{"ROLLCALL_FLIGHTCTL_ORGANIZATION", "worker, starter", "organisation's UUID, where the API has several"},
	{"ROLLCALL_FLIGHTCTL_KV_ADDRESS", "worker, starter", "Flight Control's key-value store, host:port"},
	{"ROLLCALL_FLIGHTCTL_KV_PASSWORD", "worker, starter", "its password"},
	{"ROLLCALL_FLIGHTCTL_KV_PASSWORD_FILE", "worker, starter", "file that holds the password, instead of the variable"},
	{"ROLLCALL_FLIGHTCTL_KV_DB", "worker, starter", "number of the database in it; 0 by default"},
	{"ROLLCALL_FLIGHTCTL_REQUESTS_PER_MINUTE", "worker, starter", "most calls of the API a minute"},
}

// Configuration is the page of all settings.
func Configuration() string {
	var page strings.Builder
	page.WriteString(`# Configuration

The programs read their settings from the environment. A flag of the same meaning wins; starter.md,
worker.md and gateway.md list the flags. Where a variable and its file are both set, the program
says so and ends.

| variable | for | meaning |
|---|---|---|
`)
	for _, v := range variables {
		page.WriteString("| `" + v.name + "` | " + v.programs + " | " + v.meaning + " |\n")
	}
	return page.String()
}
