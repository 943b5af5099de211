package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

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

// Dial connects to Temporal as the SDK's envconfig says: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, profiles, TLS and API keys,
// read in the same way as Temporal's own command line does. The error names the address and what to do. The caller closes
// the client; one is enough for a process.
func Dial(ctx context.Context, opts DialOptions) (client.Client, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, fmt.Errorf("read the Temporal connection from the environment or its profile: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	options.Logger = log.NewStructuredLogger(opts.Logger)
	options.MetricsHandler = opts.Metrics
	options.Identity = opts.Identity
	Unstick(&options)
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
		return nil, fmt.Errorf("connect to Temporal at %s: %w; set TEMPORAL_ADDRESS (or a profile), or run starter dev and stay in its folder", address, err)
	}
	return c, nil
}

// Namespace is the Temporal namespace that Dial connects to.
func Namespace() (string, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return "", fmt.Errorf("read the Temporal connection from the environment or its profile: %w", err)
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

// DatabaseURL is ROLLCALL_DATABASE_URL; the error says how it is set.
func DatabaseURL() (string, error) {
	if url := os.Getenv("ROLLCALL_DATABASE_URL"); url != "" {
		return url, nil
	}
	return "", errors.New("ROLLCALL_DATABASE_URL is not set; set it to the inventory's PostgreSQL URL, or run starter dev and stay in its folder")
}
