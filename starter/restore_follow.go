package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

const (
	// openPatience is how long a worker has, unless --timeout says otherwise, to open a restore or refuse it.
	openPatience = 10 * time.Second
	// rollPatience is how long a restore that is open may take to put the fleet on its roll, before a command without
	// --wait returns and leaves it to itself.
	rollPatience = 20 * time.Second
	// watchInterval is how often a restore that is watched is looked at.
	watchInterval = 250 * time.Millisecond
	// outagePatience is how long the database may be away before --wait gives up watching.
	outagePatience = time.Minute
)

// watch is a started restore as its command sees it: through the workflow's end, and through its tally in the database.
type watch struct {
	id     string
	store  *inventory.Store
	client client.Client
	// ended receives how the workflow ended.
	ended chan error
	// patience is how long awaitOpen waits; 0 is openPatience.
	patience time.Duration
}

// follow waits until the restore is open or refused, and with --wait until it has ended, and prints its tally.
func (o *restoreOptions) follow(ctx context.Context, store *inventory.Store, c client.Client, started client.WorkflowRun) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watch{id: o.id, store: store, client: c, ended: make(chan error, 1), patience: o.timeout}
	go func() { w.ended <- started.Get(ctx, nil) }()
	answered, err := w.awaitOpen(ctx)
	if err != nil {
		return err
	}
	if !answered {
		fmt.Fprintf(o.io.Stderr, "restore %s is started, but no worker on task queue %q has taken it up yet: start one with `worker`\n", o.id, o.queue())
	}
	if o.wait {
		return o.toTheEnd(ctx, w)
	}
	return o.asItStands(ctx, w, answered)
}

// awaitOpen waits until the restore's workflow has opened the restore. answered is false where no worker says anything; a
// refusal is the error.
func (w *watch) awaitOpen(ctx context.Context) (answered bool, err error) {
	deadline := time.After(cmp.Or(w.patience, openPatience))
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if w.opened(ctx) {
			return true, nil
		}
		select {
		case err := <-w.ended:
			w.ended <- err
			return true, w.failure(err)
		case <-ctx.Done():
			return false, w.left(ctx)
		case <-deadline:
			return false, nil
		case <-tick.C:
		}
	}
}

// opened asks the workflow whether it is past opening the restore; no answer counts as no.
func (w *watch) opened(ctx context.Context) bool {
	p, err := w.progress(ctx)
	return err == nil && p.Phase != runbook.PhaseOpening
}

// progress asks the workflow how far it is. Only a worker can answer.
func (w *watch) progress(ctx context.Context) (p runbook.RestoreProgress, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err = query(ctx, w.client, runbook.RestoreWorkflowID(w.id), runbook.QueryTally, &p)
	return p, err
}

// failure is what the end of a restore's workflow means for its command: nil where it ended as it should, or where only
// the connection ended.
func (w *watch) failure(ended error) error {
	var (
		failed *temporal.WorkflowExecutionError
		app    *temporal.ApplicationError
		gone   *temporal.TerminatedError
		cancel *temporal.CanceledError
	)
	switch {
	case !errors.As(ended, &failed):
		return nil
	case errors.As(ended, &app):
		return fmt.Errorf("restore %s: %w", w.id, runbook.Refuse(runbook.Code(app.Type()), "%s", app.Message()))
	case errors.As(ended, &gone):
		return fmt.Errorf("the workflow of restore %s was terminated: take it up again with `%s`", w.id, takeUp(w.id))
	case errors.As(ended, &cancel):
		return nil
	}
	return fmt.Errorf("restore %s: %w", w.id, ended)
}

// isEnd tells whether what a wait for a workflow returned says that the workflow has ended.
func isEnd(ended error) bool {
	var failed *temporal.WorkflowExecutionError
	return ended == nil || errors.As(ended, &failed)
}

// left is the error of an operator who stopped watching.
func (w *watch) left(ctx context.Context) error {
	return fmt.Errorf("stopped watching; restore %s goes on: see `%s` (%w)", w.id, command("", "status", w.id), context.Cause(ctx))
}

// asItStands waits a little until the roll is complete, and prints what is on it.
func (o *restoreOptions) asItStands(ctx context.Context, w *watch, answered bool) error {
	if !answered {
		return o.printStarted()
	}
	if complete := w.awaitRoll(ctx); !complete {
		fmt.Fprintf(o.io.Stderr, "restore %s still puts devices on its roll: watch it with `%s`\n", o.id, command("", "status", o.id))
	}
	status, err := w.store.RestoreStatus(ctx, o.id)
	if err != nil {
		return fmt.Errorf("read the tally of restore %s: %w", o.id, err)
	}
	return o.print(status)
}

// printStarted is for a restore that nobody has opened yet, so that there is no tally to be read.
func (o *restoreOptions) printStarted() error {
	status := runbook.RestoreStatus{RestoreID: o.id, State: runbook.RestoreRunning, StartedAt: o.io.Now().UTC(), Counts: runbook.NewCounts()}
	return o.output.print(o.io.Stdout, status, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "restore %s is started\n", o.id)
		return err
	})
}

func printRestored(w io.Writer, status runbook.RestoreStatus) error {
	_, err := fmt.Fprintf(w, "restore %s is %s with %s on its roll\n  %s\n  %s\n", status.RestoreID, status.State, count(status.Total, "device"),
		command("", "status", status.RestoreID),
		command("", "get", "devices", "--field-selector=status.summary.status=ConflictPaused"))
	return err
}
