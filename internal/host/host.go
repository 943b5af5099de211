package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"rollcall/activities"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/workflows"
)

// stopTimeout is how long a stopping worker lets activities finish. They are writes of milliseconds, or reads.
const stopTimeout = 10 * time.Second

// deadlockTimeout is how long workflow code may run without a pause before its task fails. The SDK's own limit of a
// second fails tasks of healthy workflows on a host that is short of CPU, and every failed task costs a replay.
const deadlockTimeout = 10 * time.Second

// stickyTimeout is how long a workflow's task waits for the worker that has the workflow in its cache: those of
// restores and batches, as devices wait for any worker (DisableStickyQueue). On a busy server the SDK's 5 s pass
// though that worker lives, which costs two events, a task more and a replay; the tasks of a worker that has died are
// given to another at once where it has not polled for 10 s; what comes within these waits as long.
const stickyTimeout = 20 * time.Second

// workflowPollers is how many polls for workflow tasks a worker has open. With the SDK's 2 a task often finds none
// that waits for it, and the server stores it first, to look for it again (docs/performance.md).
const workflowPollers = 8

// CacheSize is how many workflows a worker process keeps in memory between their tasks: the parents of devices, which
// are busy, stay well within it. A device waits for days, and its next task comes with its whole history of five
// events in any case (DisableStickyQueue); the SDK keeps it all the same, at 45 KB each.
const CacheSize = 1000

var setCacheSize = sync.OnceFunc(func() { worker.SetStickyWorkflowCacheSize(CacheSize) })

// Config is what a Host needs.
type Config struct {
	// Client is the process's only Temporal client; the caller closes it.
	Client client.Client
	// Store is the inventory; the caller closes it.
	Store *inventory.Store
	// Flightctl is the live Flight Control beside which the worker runs; nil is a worker that stands alone.
	Flightctl activities.FlightControl
	// Namespace is the client's, for the search attributes; empty is "default".
	Namespace string
	// TaskQueue is polled; empty is TaskQueue().
	TaskQueue string
	// Logger must be set.
	Logger *slog.Logger
	// MetricsListen is the address for /metrics, /healthz and /readyz; empty serves none.
	MetricsListen string
	// Metrics is where the client's SDK metrics go; nil serves the process's own without the SDK's.
	Metrics *Metrics
	// Worker is how it works; nil is WorkerOptions().
	Worker *worker.Options
	// SkipSearchAttributes leaves the registration of search attributes to someone else.
	SkipSearchAttributes bool
	// Policy is what resumes must satisfy; its zero value demands nothing.
	Policy runbook.ResumePolicy
}

// WorkerOptions are how every worker of a roll call works.
func WorkerOptions() worker.Options {
	return worker.Options{
		WorkerStopTimeout: stopTimeout, DeadlockDetectionTimeout: deadlockTimeout,
		StickyScheduleToStartTimeout: stickyTimeout,
		WorkflowTaskPollerBehavior: worker.NewPollerBehaviorSimpleMaximum(worker.PollerBehaviorSimpleMaximumOptions{
			MaximumNumberOfPollers: workflowPollers,
		}),
	}
}

// Host is one worker process.
type Host struct {
	cfg    Config
	worker worker.Worker
	health health
	fatal  chan error
}

// New checks the database's schema, registers search attributes, and makes the worker. It does not start it. The error
// says what to do: starter migrate for a schema that is not there, the temporal command for what may not be registered.
func New(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = client.DefaultNamespace
	}
	if cfg.TaskQueue == "" {
		cfg.TaskQueue = TaskQueue()
	}
	if err := cfg.Store.CheckSchema(ctx); err != nil {
		return nil, err
	}
	if !cfg.SkipSearchAttributes {
		if err := EnsureSearchAttributes(ctx, cfg.Client, cfg.Namespace); err != nil {
			return nil, err
		}
	}
	setCacheSize() // before the process's first worker
	h := &Host{cfg: cfg, fatal: make(chan error, 1)}
	options := WorkerOptions()
	if cfg.Worker != nil {
		options = *cfg.Worker
	}
	options.OnFatalError = h.fail
	h.worker = worker.New(cfg.Client, cfg.TaskQueue, options)
	workflows.Register(h.worker)
	h.worker.RegisterActivity(&activities.Activities{
		Inventory: cfg.Store, Temporal: cfg.Client, Workflows: cfg.Client, Starter: cfg.Client, Updater: cfg.Client,
		Histories: cfg.Client.WorkflowService(),
		Policy:    cfg.Policy, Flightctl: plant(cfg.Flightctl),
	})
	return h, nil
}

func (h *Host) fail(err error) {
	select {
	case h.fatal <- err:
	default: // the first one stops the process already
	}
}

// Run works until ctx is done, then stops polling, lets what runs finish, and returns nil. It returns the error that
// ended it otherwise: a worker that cannot go on, or an address that cannot be listened on.
func (h *Host) Run(ctx context.Context) error {
	stopServing, err := h.serve()
	if err != nil {
		return err
	}
	defer stopServing()
	if err := h.worker.Start(); err != nil {
		return fmt.Errorf("start the worker on task queue %s: %w", h.cfg.TaskQueue, err)
	}
	h.health.started.Store(true)
	h.cfg.Logger.Info("Worker started", "taskQueue", h.cfg.TaskQueue, "namespace", h.cfg.Namespace)
	select {
	case <-ctx.Done():
		err = nil
	case err = <-h.fatal:
		err = fmt.Errorf("worker: %w", errors.Join(err))
	}
	h.health.started.Store(false)
	h.worker.Stop()
	h.cfg.Logger.Info("Worker stopped", "taskQueue", h.cfg.TaskQueue)
	return err
}
