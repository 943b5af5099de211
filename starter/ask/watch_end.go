package ask

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// humanInterval is how often it is asked whether a human is needed.
const humanInterval = 2 * time.Second

// Attach watches a restore that was started earlier, until ctx ends.
func Attach(ctx context.Context, store *inventory.Store, c client.Client, id string) *Watch {
	w := &Watch{ID: id, Store: store, Client: c, Ended: make(chan error, 1)}
	go func() { w.Ended <- c.GetWorkflow(ctx, runbook.RestoreWorkflowID(id), "").Get(ctx, nil) }()
	return w
}

// AwaitEnd looks at the tally until the restore has ended, or NeedsHuman says why a human is needed.
func (w *Watch) AwaitEnd(
	ctx context.Context, p *printer.Progress,
) (status runbook.RestoreStatus, human string, err error) {
	defer p.Close()
	tick := time.NewTicker(WatchInterval)
	defer tick.Stop()
	var away outage
	workflowEnded := false
	for {
		status, err := w.Store.RestoreStatus(ctx, w.ID)
		if err == nil {
			away.over()
			p.Show(status)
		}
		if done, err := w.verdict(ctx, status, err, workflowEnded, &away); done {
			return status, "", err
		}
		if err == nil {
			if human := w.human(ctx); human != "" {
				return status, human, nil
			}
		}
		select {
		case ended := <-w.Ended:
			if err := w.Failure(ended); err != nil {
				return status, "", err
			}
			workflowEnded = isEnd(ended)
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// human asks now and then why a human is needed. That it cannot be asked is no reason.
func (w *Watch) human(ctx context.Context) string {
	if w.NeedsHuman == nil || time.Since(w.humanAsked) < humanInterval {
		return ""
	}
	w.humanAsked = time.Now()
	human, err := w.NeedsHuman(ctx)
	if err != nil {
		return ""
	}
	return human
}

// verdict reports whether there is nothing more to watch for after a look at the tally that returned status and err,
// and why. A refusal is only that no worker has opened the restore yet.
func (w *Watch) verdict(
	ctx context.Context, status runbook.RestoreStatus, err error, workflowEnded bool, away *outage,
) (done bool, _ error) {
	switch {
	case ctx.Err() != nil:
		return true, w.left(ctx)
	case err != nil && runbook.AsRefusal(err) == nil && away.tooLong():
		return true, fmt.Errorf("watch restore %s, which goes on: %w", w.ID, err)
	case err != nil:
		return false, nil
	case status.State != runbook.RestoreRunning:
		return true, nil
	case workflowEnded:
		return true, fmt.Errorf("the workflow of restore %s has ended, but the restore has not: take it up again with `%s`",
			w.ID, TakeUp(w.ID))
	}
	return false, nil
}

// AwaitRoll waits a little until the restore has put all of its devices on the roll, and reports whether it has.
func (w *Watch) AwaitRoll(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, rollTimeout)
	defer cancel()
	for ctx.Err() == nil {
		if p, err := w.progress(ctx); err == nil && p.Phase == runbook.PhaseWaiting {
			return true
		}
		select {
		case err := <-w.Ended:
			w.Ended <- err
			return true
		case <-ctx.Done():
		case <-time.After(WatchInterval):
		}
	}
	return false
}

// outage is how long something has been away; its zero value is not at all.
type outage struct{ since time.Time }

func (o *outage) over() { o.since = time.Time{} }

func (o *outage) tooLong() bool {
	if o.since.IsZero() {
		o.since = time.Now()
	}
	return time.Since(o.since) > outageTimeout
}
