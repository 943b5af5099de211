package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"rollcall/inventory"
	"rollcall/runbook"
)

const (
	// hurry is the pace of a demo that is played to its end.
	hurry = 0.2
	// stallLimit is how long the tally may stand still, with everything sent, until a demo gives up.
	stallLimit = 8 * time.Second
	// demoReason is what the audit says of the resumes of a demo.
	demoReason = "demo: the newer configuration was checked on site"
)

// playToTheEnd plays the whole night: all devices report, stragglers last, what is paused is resumed, and the restore
// completes. The error says which devices are not accounted for.
func (d *demo) playToTheEnd(ctx context.Context) (runbook.RestoreStatus, error) {
	done := d.showTally(ctx)
	defer done()
	steps := []func(context.Context) error{
		d.play,
		func(context.Context) error { d.agents.CallStragglers(); return nil },
		func(ctx context.Context) error { return d.await(ctx, nobodyIsAway) },
		d.resumePaused,
		func(ctx context.Context) error { return d.await(ctx, restoreHasEnded) },
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return runbook.RestoreStatus{}, err
		}
	}
	var result runbook.RestoreStatus
	if err := d.client.GetWorkflow(ctx, runbook.RestoreWorkflowID(d.restore.id), "").Get(ctx, &result); err != nil {
		return result, fmt.Errorf("read the result of restore %s: %w", d.restore.id, err)
	}
	return result, d.verdict(ctx, result)
}

func nobodyIsAway(s runbook.RestoreStatus) bool { return s.Counts[runbook.StateAwaitingReconnect] == 0 }

// onlyStragglersAreAway is how far a demo comes by itself.
func (d *demo) onlyStragglersAreAway(s runbook.RestoreStatus) bool {
	return s.Counts[runbook.StateAwaitingReconnect] <= int64(len(d.plan.Stragglers))
}

func restoreHasEnded(s runbook.RestoreStatus) bool { return s.State != runbook.RestoreRunning }

// await waits until the tally is as it should be. When it has stood still for stallLimit the error names the devices that
// hold it up.
func (d *demo) await(ctx context.Context, reached func(runbook.RestoreStatus) bool) error {
	var last string
	changed, ended := time.Now(), d.restore.ended
	for {
		status, err := d.store.RestoreStatus(ctx, d.restore.id)
		if err != nil {
			return fmt.Errorf("read the tally of restore %s: %w", d.restore.id, err)
		}
		if reached(status) {
			return nil
		}
		if line := tallyLine(status); line != last {
			last, changed = line, time.Now()
		}
		if time.Since(changed) > stallLimit {
			return errors.Join(fmt.Errorf("restore %s does not go on: %s", d.restore.id, last), d.unaccounted(ctx))
		}
		select {
		case end := <-ended:
			// Put back for whoever looks next; once is enough for this loop.
			ended <- end
			ended = nil
			if err := d.restore.failure(end); err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), d.unaccounted(context.WithoutCancel(ctx)))
		case <-time.After(watchInterval):
		}
	}
}

// open reads the devices that hold the restore open.
func (d *demo) open(ctx context.Context) ([]inventory.RollEntry, error) {
	status, err := d.store.RestoreStatus(ctx, d.restore.id)
	if err != nil {
		return nil, fmt.Errorf("read the tally of restore %s: %w", d.restore.id, err)
	}
	return d.store.OpenEntries(ctx, d.restore.id, runbook.Slice{From: 0, To: status.Total})
}

// resumePaused resumes every paused device, each with the version that was looked at.
func (d *demo) resumePaused(ctx context.Context) error {
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
		wait.Go(func() {
			if err := d.resume(ctx, entry); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (d *demo) resume(ctx context.Context, entry inventory.RollEntry) error {
	human := &asker{
		client: d.client, store: d.store, timeout: workflowPatience, requestID: uuid.NewString(),
		request: runbook.ResumeRequest{By: demoActor, Reason: demoReason, ExpectVersion: entry.Reported},
	}
	decision := human.ask(ctx, inventory.DeviceStanding{OrgID: entry.OrgID, Name: entry.Name})
	if !decision.Accepted {
		return fmt.Errorf("device %q was not resumed: %s (%s)", entry.Name, decision.Message, decision.Code)
	}
	return nil
}
