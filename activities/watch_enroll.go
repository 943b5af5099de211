package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/activity"

	"rollcall/internal/enrollment"
	"rollcall/inventory"
	"rollcall/runbook"
)

// relistEvery is how often the workflows of enrollment requests are listed again. One may have ended, and its request
// be pending again.
const relistEvery = time.Minute

// followEnrollments follows, for as long as the watch runs, what becomes of enrollment requests. A pending request that
// has no workflow gets one, and the workflow of one that was decided without it is told. A device that appears beside
// Flight Control and awaits its reconnect, because its request was approved there, is put on the roll. What fails is
// logged, and tried again in the next round.
func (w *watch) followEnrollments(ctx context.Context, a *Activities, every time.Duration) {
	known, told := map[inventory.PendingRequest]bool{}, map[inventory.PendingRequest]bool{}
	var listed time.Time
	for {
		began := time.Now()
		var err error
		if time.Since(listed) > relistEvery {
			running := map[inventory.PendingRequest]bool{}
			if err = w.listEnrollments(ctx, a, running); err == nil {
				known, listed = running, time.Now()
				maps.DeleteFunc(told, func(r inventory.PendingRequest, _ bool) bool { return !running[r] })
			}
		}
		err = errors.Join(err, w.callAppeared(ctx, a), w.startEnrollments(ctx, a, known, told))
		w.show(ctx, "enrollment", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(every, reconcileShare*time.Since(began))):
		}
	}
}

// callAppeared puts the devices on the roll that have appeared, and starts their workflows. One whose workflow could
// not be started is found by the comparison of the roll with the workflows.
func (w *watch) callAppeared(ctx context.Context, a *Activities) error {
	if a.Flightctl == nil || a.Workflows == nil {
		return nil
	}
	appeared, err := w.inventory.Appeared(ctx, w.restoreID)
	if err != nil {
		return err
	}
	var errs []error
	for _, device := range appeared {
		entry, err := w.inventory.JoinAppeared(ctx, w.restoreID, device)
		if err == nil && entry != nil {
			activity.GetLogger(ctx).Info("Device was approved in Flight Control and joins the roll",
				"restore", w.restoreID, "device", device.Name)
			queue := activity.GetInfo(ctx).TaskQueue
			err = StartDevice(ctx, a.Workflows, queue, w.restoreID, "approved in Flight Control", *entry)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// listEnrollments adds to known the requests whose workflows run already, whoever has started them.
func (w *watch) listEnrollments(ctx context.Context, a *Activities, known map[inventory.PendingRequest]bool) error {
	if a.Workflows == nil {
		return nil
	}
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", runbook.EnrollmentWorkflowName)
	err := eachPage(ctx, a.Workflows, query, func(page []*workflow.WorkflowExecutionInfo) error {
		for _, e := range page {
			if orgID, name, ok := runbook.ParseEnrollmentWorkflowID(e.GetExecution().GetWorkflowId()); ok {
				known[inventory.PendingRequest{OrgID: orgID, Name: name}] = true
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the workflows of enrollment requests: %w", err)
	}
	return nil
}

// startEnrollments starts the workflow of each pending request that has none yet, and tells the workflows of those that
// are pending no more. known are the requests whose workflows were started or found before, and told those that were
// told since they were pending last.
func (w *watch) startEnrollments(
	ctx context.Context, a *Activities, known, told map[inventory.PendingRequest]bool,
) error {
	pending, err := w.pendingRequests(ctx)
	if err != nil || pending == nil || a.Starter == nil {
		return err
	}
	var errs []error
	for request := range pending {
		if known[request] {
			continue
		}
		err := enrollment.Start(ctx, a.Starter, activity.GetInfo(ctx).TaskQueue, "found during "+w.restoreID,
			runbook.EnrollmentInput{OrgID: request.OrgID, Name: request.Name, RestoreID: w.restoreID})
		if err != nil {
			errs = append(errs, fmt.Errorf("start the workflow of enrollment request %s: %w", request.Name, err))
			continue
		}
		known[request] = true
	}
	return errors.Join(append(errs, w.tellDecided(ctx, known, pending, told))...)
}

// tellDecided has the workflows of requests that were decided look at that, once each: one whose device is waited for
// runs on for as long as that takes. Our own decisions they know already.
func (w *watch) tellDecided(ctx context.Context, known, pending, told map[inventory.PendingRequest]bool) error {
	var left []inventory.PendingRequest
	for request := range known {
		switch {
		case pending[request]:
			delete(told, request)
		case !told[request]:
			left = append(left, request)
		}
	}
	if len(left) == 0 {
		return nil
	}
	decided, err := inventory.DecidedRequests(ctx, w.inventory.DB(), left)
	if err != nil {
		return err
	}
	var errs []error
	for _, request := range decided {
		err := w.look(ctx, runbook.EnrollmentWorkflowID(request.OrgID, request.Name))
		if errs = append(errs, err); err == nil {
			delete(known, request)
			told[request] = true
		}
	}
	return errors.Join(errs...)
}

// pendingRequests reads the requests of the restore's organisations that are yet to be decided.
func (w *watch) pendingRequests(ctx context.Context) (map[inventory.PendingRequest]bool, error) {
	all := map[inventory.PendingRequest]bool{}
	for in := (inventory.RollInput{RestoreID: w.restoreID}); ; {
		page, result, err := w.inventory.PendingRequests(ctx, in)
		if runbook.AsRefusal(err) != nil {
			return nil, nil // the restore has ended
		}
		if err != nil {
			return nil, err
		}
		for _, request := range page {
			all[request] = true
		}
		if result.Done {
			return all, nil
		}
		in = result.Next(in)
	}
}
