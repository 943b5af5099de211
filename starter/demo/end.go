package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

const (
	// FastPace is the pace of a demo that is played to its end.
	FastPace = 0.2
	// stallLimit is how long the tally may stand still, with everything sent, until a demo gives up. Beside a Flight
	// Control a device that is resumed and not rendered is resumed again after a minute, and counts when it has reported.
	stallLimit       = 8 * time.Second
	stallLimitBeside = 90 * time.Second
	// reason is what the audit says of the resumes of a demo.
	reason = "demo: the newer configuration was checked on site"
)

// PlayToTheEnd plays the whole night: all devices report, stragglers last, what is paused is resumed, and the restore
// completes. The error says which devices are not accounted for.
func (d *Demo) PlayToTheEnd(ctx context.Context) (runbook.RestoreStatus, error) {
	done := d.ShowTally(ctx)
	defer done()
	steps := []func(context.Context) error{
		d.Play,
		func(context.Context) error { d.agents.CallStragglers(); return nil },
		func(ctx context.Context) error { return d.Await(ctx, nobodyIsAway) },
		d.resumeUntilTheEnd,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return runbook.RestoreStatus{}, err
		}
	}
	var result runbook.RestoreStatus
	if err := d.Client.GetWorkflow(ctx, runbook.RestoreWorkflowID(d.restore.ID), "").Get(ctx, &result); err != nil {
		return result, fmt.Errorf("read the result of restore %s: %w", d.restore.ID, err)
	}
	return result, d.verdict(ctx, result)
}

func nobodyIsAway(s runbook.RestoreStatus) bool { return s.Counts[runbook.StateAwaitingReconnect] == 0 }

// OnlyStragglersAreAway is how far a demo comes by itself.
func (d *Demo) OnlyStragglersAreAway(s runbook.RestoreStatus) bool {
	return s.Counts[runbook.StateAwaitingReconnect] <= int64(len(d.plan.Stragglers))
}

func restoreHasEnded(s runbook.RestoreStatus) bool { return s.State != runbook.RestoreRunning }

// Await waits until the tally is as it should be. When it has stood still for the limit the error names the devices
// that hold it up.
func (d *Demo) Await(ctx context.Context, reached func(runbook.RestoreStatus) bool) error {
	var last string
	changed, ended, limit := time.Now(), d.restore.Ended, stallLimit
	if d.Beside {
		limit = stallLimitBeside
	}
	for {
		status, err := d.Store.RestoreStatus(ctx, d.restore.ID)
		if err != nil {
			return fmt.Errorf("read the tally of restore %s: %w", d.restore.ID, err)
		}
		if reached(status) {
			return nil
		}
		if line := printer.TallyLine(status); line != last {
			last, changed = line, time.Now()
		}
		if time.Since(changed) > limit {
			return errors.Join(fmt.Errorf("restore %s does not go on: %s", d.restore.ID, last), d.unaccounted(ctx))
		}
		select {
		case end := <-ended:
			// Put back for whoever looks next; once is enough for this loop.
			ended <- end
			ended = nil
			if err := d.restore.Failure(end); err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), d.unaccounted(context.WithoutCancel(ctx)))
		case <-time.After(ask.WatchInterval):
		}
	}
}

// open reads the devices that hold the restore open.
func (d *Demo) open(ctx context.Context) ([]inventory.RollEntry, error) {
	status, err := d.Store.RestoreStatus(ctx, d.restore.ID)
	if err != nil {
		return nil, fmt.Errorf("read the tally of restore %s: %w", d.restore.ID, err)
	}
	return d.Store.OpenEntries(ctx, d.restore.ID, runbook.Slice{From: 0, To: status.Total})
}

// resumeUntilTheEnd resumes what is paused until the restore has ended. A device whose decision was dropped, because it
// has reported another version, is looked at and resumed again.
func (d *Demo) resumeUntilTheEnd(ctx context.Context) error {
	var failed error
	err := d.Await(ctx, func(status runbook.RestoreStatus) bool {
		if restoreHasEnded(status) {
			return true
		}
		failed = d.resumePaused(ctx)
		return failed != nil
	})
	return errors.Join(failed, err)
}

// resumePaused resumes every paused device, each once with the version that was looked at.
func (d *Demo) resumePaused(ctx context.Context) error {
	entries, err := d.open(ctx)
	if err != nil {
		return err
	}
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, entry := range entries {
		if before, resumed := d.resumed[entry.Name]; resumed && before == entry.Reported {
			continue
		}
		wait.Go(func() {
			decided, err := d.resume(ctx, entry)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			if decided {
				d.resumed[entry.Name] = entry.Reported
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// resume resumes a device, and reports whether that is decided. Beside Flight Control a decision about a version that
// the roll does not hold yet, or not any more, is made again after another look.
func (d *Demo) resume(ctx context.Context, entry inventory.RollEntry) (decided bool, err error) {
	human := &ask.Resumer{
		Client: d.Client, Store: d.Store, Timeout: workflowTimeout, RequestID: uuid.NewString(),
		Request: runbook.ResumeRequest{ExpectVersion: entry.Reported}, Decided: ask.Decided{By: actor, Reason: reason},
	}
	decision := human.Ask(ctx, inventory.DevicePosition{OrgID: entry.OrgID, Name: entry.Name})
	switch {
	case decision.Accepted:
		return true, nil
	case d.Beside && decision.Code == runbook.CodeInvalidVersion:
		return true, d.enrollAgain(ctx, entry, decision)
	case d.Beside && (decision.Code == runbook.CodeVersionUnknown || decision.Code == runbook.CodeVersionChanged):
		return false, nil
	}
	return false, fmt.Errorf("device %q was not resumed: %s (%s)", entry.Name, decision.Message, decision.Code)
}

// enrollAgain takes a device out of service that Flight Control cannot render: its agent enrolls again later.
func (d *Demo) enrollAgain(ctx context.Context, entry inventory.RollEntry, refused runbook.ResumeDecision) error {
	fmt.Fprintf(d.io.Stderr, "%s is decommissioned, to be enrolled again: %s\n", entry.Name, refused.Message)
	return d.send(ctx, entry.Name, runbook.SignalWithdraw, runbook.WithdrawSignal{
		By: actor, Reason: "demo: it is enrolled again", Decommission: runbook.DecommissionUnenroll,
	})
}
