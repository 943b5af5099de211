package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"

	"rollcall/runbook"
	"rollcall/simulator"
	"rollcall/starter/ask"
)

const (
	// workflowTimeout is how long what is sent waits for its device's workflow to be there: a restore starts them one
	// after the other.
	workflowTimeout  = 20 * time.Second
	workflowInterval = 100 * time.Millisecond
)

// Play takes out of service what the plan says, each at its time, while the agents report by themselves. It returns
// when the last report is due, with what could not be done.
func (d *Demo) Play(ctx context.Context) error {
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
	err := d.sleepUntil(ctx, start, lastReport(d.plan))
	wait.Wait()
	return errors.Join(append(errs, err)...)
}

// lastReport is when the last of the reports is due, in seconds.
func lastReport(plan simulator.Scenario) float64 {
	last := 0.0
	for _, r := range plan.Reports {
		last = max(last, r.AfterSeconds)
	}
	return last
}

// decommission does what Flight Control does with a device that is decommissioned, and tells the roll call so. Beside a
// Flight Control the roll call has it decommission the device.
func (d *Demo) decommission(ctx context.Context, start time.Time, one simulator.Decommission) error {
	if err := d.sleepUntil(ctx, start, one.AfterSeconds); err != nil {
		return err
	}
	withdrawal := runbook.WithdrawSignal{By: one.By, Reason: one.Reason}
	if d.Beside {
		withdrawal.Decommission = runbook.DecommissionUnenroll
	} else if err := d.Owner.Decommission(ctx, runbook.DefaultOrgID, one.Device); err != nil {
		return err
	}
	return d.send(ctx, one.Device, runbook.SignalWithdraw, withdrawal)
}

// send signals a device's workflow, and waits for the workflow where it is not there yet. A device that has left the
// roll call does not listen any more, which is no error.
func (d *Demo) send(ctx context.Context, device, signal string, message any) error {
	timeout := time.After(workflowTimeout)
	for {
		err := d.Client.SignalWorkflow(ctx, runbook.DeviceWorkflowID(runbook.DefaultOrgID, device), "", signal, message)
		var missing *serviceerror.NotFound
		if err == nil {
			return nil
		}
		if !errors.As(err, &missing) {
			return fmt.Errorf("send %q to device %q: %w", signal, device, err)
		}
		position, err := ask.PositionOf(ctx, d.Store, runbook.DefaultOrgID, device)
		if err != nil {
			return err
		}
		if position == nil || !position.State.Open() {
			return nil
		}
		select {
		case <-time.After(workflowInterval):
		case <-timeout:
			return fmt.Errorf("send %q to device %q: it is %s, but no workflow waits for it", signal, device, position.State)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d *Demo) sleepUntil(ctx context.Context, start time.Time, seconds float64) error {
	at := start.Add(time.Duration(seconds * d.Pace * float64(time.Second)))
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ShowTally shows how the restore goes until the returned function is called.
func (d *Demo) ShowTally(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		defer d.view.Close()
		for ctx.Err() == nil {
			// That it cannot be read for a moment is seen by its standing still.
			if status, err := d.Store.RestoreStatus(ctx, d.restore.ID); err == nil {
				d.view.Show(status)
			}
			select {
			case <-ctx.Done():
			case <-time.After(ask.WatchInterval):
			}
		}
	})
	return func() {
		cancel()
		wait.Wait()
	}
}
