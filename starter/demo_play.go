package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"

	"rollcall/runbook"
)

const (
	// workflowPatience is how long what is sent waits for its device's workflow to be there: a restore starts them one after
	// the other.
	workflowPatience = 20 * time.Second
	workflowInterval = 100 * time.Millisecond
)

// play takes out of service what the plan says, each at its time, while the agents report by themselves. It returns when
// the last report is due, with what could not be done.
func (d *demo) play(ctx context.Context) error {
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		start = time.Now()
	)
	for _, one := range d.plan.Decommissioned {
		wait.Go(func() {
			err := d.decommission(ctx, start, one)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	err := d.sleepUntil(ctx, start, d.plan.lastReport())
	wait.Wait()
	return errors.Join(append(errs, err)...)
}

// decommission does what Flight Control does with a device that is decommissioned, and tells the roll call so.
func (d *demo) decommission(ctx context.Context, start time.Time, one demoDecommission) error {
	if err := d.sleepUntil(ctx, start, one.AfterSeconds); err != nil {
		return err
	}
	// This is the service's own write, not one of the roll call's, and so has no place in the inventory.
	_, err := d.store.DB().ExecContext(ctx, `UPDATE devices SET updated_at = now(), resource_version = coalesce(resource_version, 0) + 1,
  status = coalesce(status, '{}') || jsonb_build_object('lifecycle', coalesce(status->'lifecycle', '{}') || '{"status": "Decommissioning"}')
WHERE org_id = $1 AND name = $2`, runbook.DefaultOrgID, one.Device)
	if err != nil {
		return fmt.Errorf("decommission device %q: %w", one.Device, err)
	}
	return d.send(ctx, one.Device, runbook.SignalWithdraw, runbook.WithdrawSignal{By: one.By, Reason: one.Reason})
}

// send signals a device's workflow, and waits for the workflow where it is not there yet. A device that has left the roll
// call does not listen any more, which is no error.
func (d *demo) send(ctx context.Context, device, signal string, message any) error {
	patience := time.After(workflowPatience)
	for {
		err := d.client.SignalWorkflow(ctx, runbook.DeviceWorkflowID(runbook.DefaultOrgID, device), "", signal, message)
		var missing *serviceerror.NotFound
		if err == nil {
			return nil
		}
		if !errors.As(err, &missing) {
			return fmt.Errorf("send %q to device %q: %w", signal, device, err)
		}
		standing, err := standingOf(ctx, d.store, runbook.DefaultOrgID, device)
		if err != nil {
			return err
		}
		if standing == nil || !standing.State.Open() {
			return nil
		}
		select {
		case <-time.After(workflowInterval):
		case <-patience:
			return fmt.Errorf("send %q to device %q: it is %s, but no workflow waits for it", signal, device, standing.State)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d *demo) sleepUntil(ctx context.Context, start time.Time, seconds float64) error {
	at := start.Add(time.Duration(seconds * d.pace * float64(time.Second)))
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// showTally shows how the restore goes until the returned function is called.
func (d *demo) showTally(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		defer d.view.close()
		for ctx.Err() == nil {
			// That it cannot be read for a moment is seen by its standing still.
			if status, err := d.store.RestoreStatus(ctx, d.restore.id); err == nil {
				d.view.show(status)
			}
			select {
			case <-ctx.Done():
			case <-time.After(watchInterval):
			}
		}
	})
	return func() {
		cancel()
		wait.Wait()
	}
}
