package ask

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

const (
	// OpenTimeout is how long a worker has, unless --timeout says otherwise, to open a restore or refuse it.
	OpenTimeout = 10 * time.Second
	// rollTimeout is how long a restore that is open may take to put the fleet on its roll, before a command without
	// --wait returns and leaves it to itself.
	rollTimeout = 20 * time.Second
	// WatchInterval is how often a restore that is watched is looked at.
	WatchInterval = 250 * time.Millisecond
	// outageTimeout is how long the database may be away before --wait gives up watching.
	outageTimeout = time.Minute
)

// Watch is a started restore as its command sees it: through the workflow's end, and through its tally in the database.
type Watch struct {
	ID     string
	Store  *inventory.Store
	Client client.Client
	// Ended receives how the workflow ended.
	Ended chan error
	// OpenTimeout bounds AwaitOpen; 0 is the constant OpenTimeout.
	OpenTimeout time.Duration
	// NeedsHuman says why a human is needed, or nothing; nil never asks.
	NeedsHuman func(context.Context) (string, error)
	humanAsked time.Time
}

// AwaitOpen waits until the restore's workflow has opened the restore. answered is false where no worker says
// anything; a refusal is the error.
func (w *Watch) AwaitOpen(ctx context.Context) (answered bool, err error) {
	deadline := time.After(cmp.Or(w.OpenTimeout, OpenTimeout))
	tick := time.NewTicker(WatchInterval)
	defer tick.Stop()
	for {
		if w.opened(ctx) {
			return true, nil
		}
		select {
		case err := <-w.Ended:
			w.Ended <- err
			return true, w.Failure(err)
		case <-ctx.Done():
			return false, w.left(ctx)
		case <-deadline:
			return false, nil
		case <-tick.C:
		}
	}
}

// opened asks the workflow whether it is past opening the restore; no answer counts as no.
func (w *Watch) opened(ctx context.Context) bool {
	p, err := w.progress(ctx)
	return err == nil && p.Phase != runbook.PhaseOpening
}

// progress asks the workflow how far it is. Only a worker can answer.
func (w *Watch) progress(ctx context.Context) (p runbook.RestoreProgress, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err = Query(ctx, w.Client, runbook.RestoreWorkflowID(w.ID), runbook.QueryTally, &p)
	return p, err
}

// Failure is what the end of a restore's workflow means for its command: nil where it ended as it should, or where only
// the connection ended.
func (w *Watch) Failure(ended error) error {
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
		return fmt.Errorf("restore %s: %w", w.ID, runbook.Refuse(runbook.Code(app.Type()), "%s", app.Message()))
	case errors.As(ended, &gone):
		return fmt.Errorf("the workflow of restore %s was terminated: take it up again with `%s`", w.ID, TakeUp(w.ID))
	case errors.As(ended, &cancel):
		return nil
	}
	return fmt.Errorf("restore %s: %w", w.ID, ended)
}

// isEnd reports whether what a wait for a workflow returned says that the workflow has ended.
func isEnd(ended error) bool {
	var failed *temporal.WorkflowExecutionError
	return ended == nil || errors.As(ended, &failed)
}

// left is the error of an operator who stopped watching.
func (w *Watch) left(ctx context.Context) error {
	return fmt.Errorf("stopped watching; restore %s goes on: see `%s` (%w)", w.ID, printer.Command("", "status", w.ID),
		context.Cause(ctx))
}
