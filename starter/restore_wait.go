package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"rollcall/runbook"
)

// toTheEnd shows progress until every device is accounted for, or somebody ends the restore otherwise.
func (o *restoreOptions) toTheEnd(ctx context.Context, w *watch) error {
	status, err := w.awaitEnd(ctx, newProgress(o.io))
	if err != nil {
		return err
	}
	err = o.output.print(o.io.Stdout, status, func(out io.Writer) error { return printStatus(out, o.io.Now(), status, nil) })
	if err == nil && status.State != runbook.RestoreCompleted {
		err = fmt.Errorf("restore %s did not complete: it was %s with %s still waiting", status.RestoreID, lower(status.State), count(status.Waiting(), "device"))
	}
	return err
}

// awaitEnd looks at the tally until the restore has ended.
func (w *watch) awaitEnd(ctx context.Context, p *progress) (runbook.RestoreStatus, error) {
	defer p.close()
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var away outage
	workflowEnded := false
	for {
		status, err := w.store.RestoreStatus(ctx, w.id)
		if err == nil {
			away.over()
			p.show(status)
		}
		if done, err := w.verdict(ctx, status, err, workflowEnded, &away); done {
			return status, err
		}
		select {
		case ended := <-w.ended:
			if err := w.failure(ended); err != nil {
				return status, err
			}
			workflowEnded = isEnd(ended)
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// verdict tells whether there is nothing more to watch for after a look at the tally that returned status and err, and
// why. A refusal is only that no worker has opened the restore yet.
func (w *watch) verdict(ctx context.Context, status runbook.RestoreStatus, err error, workflowEnded bool, away *outage) (done bool, _ error) {
	switch {
	case ctx.Err() != nil:
		return true, w.left(ctx)
	case err != nil && runbook.AsRefusal(err) == nil && away.tooLong():
		return true, fmt.Errorf("watch restore %s, which goes on: %w", w.id, err)
	case err != nil:
		return false, nil
	case status.State != runbook.RestoreRunning:
		return true, nil
	case workflowEnded:
		return true, fmt.Errorf("the workflow of restore %s has ended, but the restore has not: take it up again with `%s`", w.id, takeUp(w.id))
	}
	return false, nil
}

// awaitRoll waits a little until the restore has put all of its devices on the roll, and tells whether it has.
func (w *watch) awaitRoll(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, rollPatience)
	defer cancel()
	for ctx.Err() == nil {
		if p, err := w.progress(ctx); err == nil && p.Phase == runbook.PhaseWaiting {
			return true
		}
		select {
		case err := <-w.ended:
			w.ended <- err
			return true
		case <-ctx.Done():
		case <-time.After(watchInterval):
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
	return time.Since(o.since) > outagePatience
}
