package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/BurntSushi/toml"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

	"rollcall/internal/settings"
	"rollcall/runbook"
)

// dialTimeout bounds the first answer of the Temporal server.
const dialTimeout = 10 * time.Second

// DialOptions says with what a client logs and measures.
type DialOptions struct {
	// Logger gets the SDK's own messages; nil drops them.
	Logger *slog.Logger
	// Metrics gets the SDK's metrics; nil drops them.
	Metrics client.MetricsHandler
	// Identity is shown in the web UI beside what this client does; empty is the SDK's default.
	Identity string
	// Lazy connects at the first call, so that a process which can do without Temporal for a while starts without it.
	Lazy bool
}

// Dial connects to Temporal as the SDK's envconfig says: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, profiles, TLS and API
// keys, read in the same way as Temporal's own command line does. TEMPORAL_API_KEY_FILE names a file with the API key.
// The error names the address and what to do. The caller closes the client; one is enough for a process.
func Dial(ctx context.Context, opts DialOptions) (client.Client, error) {
	options, err := clientOptions()
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	options.Logger = log.NewStructuredLogger(opts.Logger)
	options.MetricsHandler = opts.Metrics
	options.Identity = opts.Identity
	DisableStickyQueue(&options)
	mark(&options)
	if opts.Lazy {
		c, err := client.NewLazyClient(options)
		if err != nil {
			return nil, fmt.Errorf("make a Temporal client: %w", err)
		}
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := client.DialContext(ctx, options)
	if err != nil {
		address := options.HostPort
		if address == "" {
			address = client.DefaultHostPort
		}
		return nil, fmt.Errorf("connect to Temporal at %s: %w; set TEMPORAL_ADDRESS or a profile", address, err)
	}
	return c, nil
}

// SendsCredentials reports whether Dial's connection carries what a server can tell its caller by: an API key, a client
// certificate, or headers.
func SendsCredentials() (bool, error) {
	options, err := clientOptions()
	if err != nil {
		return false, err
	}
	tls := options.ConnectionOptions.TLS
	return options.Credentials != nil || options.HeadersProvider != nil || tls != nil && len(tls.Certificates) > 0, nil
}

// clientOptions reads the environment and the profile. Of a profile that is not TOML the error gives the line and not
// its text, which may be an API key.
func clientOptions() (client.Options, error) {
	key, err := settings.Read(os.LookupEnv, EnvAPIKey)
	if err != nil {
		return client.Options{}, err
	}
	options, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{EnvLookup: environment{key: key}})
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		err = fmt.Errorf("line %d of the profile's file is not TOML (it may hold a secret, so it is not shown)",
			syntax.Position.Line)
	}
	if err != nil {
		return options, fmt.Errorf("read the Temporal connection from the environment or its profile: %w", err)
	}
	return options, nil
}

// EnvAPIKey is the API key for Temporal; its file may be named instead.
const EnvAPIKey = "TEMPORAL_API_KEY"

// environment is the one of this process, with the API key in it where that is in a file.
type environment struct{ key string }

func (e environment) LookupEnv(name string) (string, bool) {
	if name == EnvAPIKey && e.key != "" {
		return e.key, true
	}
	return os.LookupEnv(name)
}

func (environment) Environ() []string { return os.Environ() }

// Namespace is the Temporal namespace that Dial connects to.
func Namespace() (string, error) {
	options, err := clientOptions()
	if err != nil {
		return "", err
	}
	if options.Namespace == "" {
		return client.DefaultNamespace, nil
	}
	return options.Namespace, nil
}

// TaskQueue is the task queue of this process: ROLLCALL_TASK_QUEUE, or runbook.DefaultTaskQueue.
func TaskQueue() string {
	if q := os.Getenv("ROLLCALL_TASK_QUEUE"); q != "" {
		return q
	}
	return runbook.DefaultTaskQueue
}

// DatabaseURL is ROLLCALL_DATABASE_URL, or what the file of ROLLCALL_DATABASE_URL_FILE holds. The error says how it is
// set.
func DatabaseURL() (string, error) {
	const name = "ROLLCALL_DATABASE_URL"
	url, err := settings.Read(os.LookupEnv, name)
	if err != nil {
		return "", err
	}
	if url == "" {
		return "", fmt.Errorf("%s is not set; set it to the inventory's PostgreSQL URL, or %s to a file that holds it", name,
			name+settings.FileSuffix)
	}
	return url, nil
}
