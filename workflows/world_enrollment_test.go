package workflows_test

import (
	"context"
	"slices"

	"go.temporal.io/sdk/activity"

	"rollcall/activities"
	"rollcall/runbook"
)

// worldRequest is an enrollment request of the world.
type worldRequest struct {
	known        string
	annotations  map[string]string
	deviceExists bool
	decided      activities.DecidedResult
	labels       map[string]string
}

func (w *world) request(name, known string) *worldRequest {
	r := &worldRequest{known: known, decided: activities.DecidedResult{State: runbook.EnrollmentPending}}
	w.requests[name] = r
	return r
}

func (w *world) enrollment(name string) (runbook.Enrollment, *worldRequest) {
	r, ok := w.requests[name]
	if !ok {
		return runbook.Enrollment{}, &worldRequest{decided: activities.DecidedResult{State: runbook.EnrollmentGone}}
	}
	return runbook.Enrollment{Exists: true, DeviceExists: r.deviceExists, State: r.decided.State, DecidedBy: r.decided.By},
		r
}

func (w *world) approve(_ context.Context, in activities.ApproveInput) (activities.DecidedResult, error) {
	leave, err := w.enter("Approve")
	if err != nil {
		return activities.DecidedResult{}, err
	}
	defer leave()
	e, r := w.enrollment(in.Name)
	if err := runbook.MayApprove(e, in.Name); err != nil {
		return w.refuses(r, runbook.SignalApprove, in.By, err), nil
	}
	state := runbook.EnrolledState(r.annotations, r.known)
	r.decided = activities.DecidedResult{
		Applied: true, State: runbook.EnrollmentApproved, Device: state, By: in.By,
		Reason: in.Reason, At: w.now(),
	}
	r.labels, r.deviceExists = in.Labels, true
	if state == runbook.StateAwaitingReconnect && w.restores[w.running] == runbook.RestoreRunning {
		w.add(in.Name, "")
		r.decided.RestoreID = w.running
	}
	return r.decided, nil
}

// refuses answers no with little of the decision that stands, and keeps that.
func (w *world) refuses(r *worldRequest, message, by string, err error) activities.DecidedResult {
	w.refusals = append(w.refusals, activities.RefusalInput{Message: message, By: by, Refusal: *runbook.AsRefusal(err)})
	return activities.DecidedResult{
		State: r.decided.State, By: r.decided.By, RestoreID: r.decided.RestoreID, Refusal: runbook.AsRefusal(err),
	}
}

func (w *world) deny(_ context.Context, in activities.DenyInput) (activities.DecidedResult, error) {
	leave, err := w.enter("Deny")
	if err != nil {
		return activities.DecidedResult{}, err
	}
	defer leave()
	e, r := w.enrollment(in.Name)
	if err := runbook.MayDeny(e, in.Name); err != nil {
		return w.refuses(r, runbook.SignalDeny, in.By, err), nil
	}
	r.decided = activities.DecidedResult{
		Applied: true, State: runbook.EnrollmentDenied, By: in.By, Reason: in.Reason,
		At: w.now(),
	}
	return r.decided, nil
}

func (w *world) waitingEntry(
	ctx context.Context, in activities.WaitingEntryInput,
) (activities.WaitingEntryResult, error) {
	leave, err := w.enter("WaitingEntry")
	if err != nil {
		return activities.WaitingEntryResult{}, err
	}
	defer leave()
	w.waitingEntryLimit = max(w.waitingEntryLimit, activity.GetInfo(ctx).StartToCloseTimeout)
	d, ok := w.devices[in.Name]
	if !ok || !d.entry.State.Open() || w.restores[in.RestoreID] != runbook.RestoreRunning {
		return activities.WaitingEntryResult{}, nil
	}
	entry := d.entry
	return activities.WaitingEntryResult{Entry: &entry}, nil
}

func (w *world) startEnrollments(_ context.Context, in activities.RollInput) (activities.RollResult, error) {
	leave, err := w.enter("StartEnrollments")
	if err != nil {
		return activities.RollResult{}, err
	}
	defer leave()
	for name := range w.requests {
		w.started = append(w.started, name)
	}
	return activities.RollResult{Done: true}, nil
}

func (w *world) followRequest(
	_ context.Context, in activities.FollowRequestInput,
) (activities.DecidedResult, error) {
	leave, err := w.enter("FollowRequest")
	if err != nil {
		return activities.DecidedResult{}, err
	}
	defer leave()
	_, r := w.enrollment(in.Name)
	return r.decided, nil
}

func (w *world) decisionStands(
	_ context.Context, in activities.DecisionStandsInput,
) (activities.DecisionStandsResult, error) {
	leave, err := w.enter("DecisionStands")
	if err != nil {
		return activities.DecisionStandsResult{}, err
	}
	defer leave()
	e, r := w.enrollment(in.Name)
	if in.At.IsZero() {
		return activities.DecisionStandsResult{Stands: e.State != runbook.EnrollmentPending}, nil
	}
	stands := r.decided.At.Equal(in.At)
	if w.calls["DecisionStands"] == w.forgetsAt {
		w.forget(in.Name)
	}
	return activities.DecisionStandsResult{Stands: stands}, nil
}

// forget is the database put back to before the request was decided, and its device on the roll.
func (w *world) forget(name string) {
	w.requests[name].decided = activities.DecidedResult{State: runbook.EnrollmentPending}
	w.requests[name].deviceExists = false
	delete(w.devices, name)
	w.order = slices.DeleteFunc(w.order, func(other string) bool { return other == name })
}
