// Worker is Rollcall's process for production: it carries the workflows and activities of every restore. Any number of
// them may run; none holds anything that another could not take over.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"

	"rollcall/activities"
	"rollcall/flightctl"
	"rollcall/internal/host"
	"rollcall/internal/program"
	"rollcall/runbook"
)

const long = `The worker polls Temporal for the workflows and activities of every restore. Any number of
workers may run; none holds state. SIGTERM ends it when the activities under way have finished.

PostgreSQL is found through ROLLCALL_DATABASE_URL, or through the file that ROLLCALL_DATABASE_URL_FILE names; Temporal
through the variables and profiles of the temporal command (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,
TEMPORAL_PROFILE and so on), and TEMPORAL_API_KEY_FILE.`

func main() { newProgram().Main() }

// options are the worker's own flags.
type options struct {
	taskQueue            string
	skipSearchAttributes bool
	policy               runbook.ResumePolicy
}

func newProgram() program.Program {
	var o options
	return program.Program{
		Name: "worker", Short: "carries the workflows and activities of every restore", Long: long, Bind: o.bind, Run: o.work,
	}
}

func (o *options) bind(flags *flag.FlagSet) {
	flags.StringVar(&o.taskQueue, "task-queue", host.TaskQueue(), "task queue to poll (ROLLCALL_TASK_QUEUE)")
	flags.BoolVar(&o.policy.RequireReason, "require-reason", false,
		"refuse resumes without a reason (ROLLCALL_REQUIRE_REASON)")
	flags.Func("max-share", "largest share of a roll that one plan may resume, such as 10%; while it is set, devices are "+
		"resumed by plans only (ROLLCALL_MAX_SHARE)", o.setMaxShare)
	flags.BoolVar(&o.skipSearchAttributes, "skip-search-attributes", false,
		"do not register search attributes; they are there")
}

// setMaxShare reads a share in percent; empty is no limit.
func (o *options) setMaxShare(text string) (err error) {
	o.policy.MaxShare, err = runbook.ParseShare(text)
	return err
}

// readPolicy completes the policy from the environment, where flags do not say it.
func (o *options) readPolicy() error {
	if share := os.Getenv("ROLLCALL_MAX_SHARE"); share != "" && o.policy.MaxShare == 0 {
		if err := o.setMaxShare(share); err != nil {
			return fmt.Errorf("ROLLCALL_MAX_SHARE: %w", err)
		}
	}
	if text := os.Getenv("ROLLCALL_REQUIRE_REASON"); text != "" && !o.policy.RequireReason {
		required, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("ROLLCALL_REQUIRE_REASON is %q: use true or false", text)
		}
		o.policy.RequireReason = required
	}
	return nil
}

func (o *options) work(ctx context.Context, p program.Common) error {
	if err := o.readPolicy(); err != nil {
		return err
	}
	connections, err := p.Connect(ctx, false)
	if err != nil {
		return err
	}
	defer connections.Close()
	namespace, err := host.Namespace()
	if err != nil {
		return err
	}
	beside, err := flightControl()
	if err != nil {
		return err
	}
	if beside != nil {
		defer beside.Close() // after the worker has stopped, for the writes that it has sent
	}
	go o.check(ctx, p.Logger, connections, namespace, beside)
	h, err := host.New(ctx, host.Config{
		Client: connections.Temporal, Store: connections.Store, Namespace: namespace, TaskQueue: o.taskQueue,
		Logger:        p.Logger,
		MetricsListen: p.MetricsListen, Metrics: connections.Metrics, SkipSearchAttributes: o.skipSearchAttributes,
		Flightctl: transitions(beside), Policy: o.policy,
	})
	if err != nil {
		return err
	}
	return h.Run(ctx)
}

// flightControl is the Flight Control that the variables ROLLCALL_FLIGHTCTL_… name; nil where none is set, for a
// worker that stands alone.
func flightControl() (*flightctl.Client, error) {
	cfg, configured, err := flightctl.LoadConfig(os.LookupEnv)
	if err != nil || !configured {
		return nil, err
	}
	return flightctl.Open(cfg)
}

// transitions is the client as activities know it; a nil client is none.
func transitions(c *flightctl.Client) activities.FlightControl {
	if c == nil {
		return nil
	}
	return c
}
