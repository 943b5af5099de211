package workflows

import (
	"cmp"
	"fmt"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// DeviceWorkflow is one device's part in a roll call: it waits for the device to reconnect, lets it go back to normal or
// holds it for a human, and ends with its outcome. It starts in whatever state the database says. A cancellation ends its
// wait and leaves the device as it is.
func DeviceWorkflow(ctx workflow.Context, in runbook.DeviceInput) (runbook.DeviceResult, error) {
	d, err := setUpDevice(ctx, in)
	if err != nil {
		return runbook.DeviceResult{}, err
	}
	return d.run(ctx)
}

// device is the state of one DeviceWorkflow.
type device struct {
	status runbook.DeviceStatus
	inbox  inbox
	// turn lets one message at a time move the device, so that of two decisions the second sees what the first has done.
	turn workflow.Mutex
	// resume is the decision that ended the conflict.
	resume runbook.ResumeDecision
	// asked counts the messages that became writes, for their request ids.
	asked int
	log   log.Logger
}

// setUpDevice checks the input and registers all handlers before the workflow first blocks.
func setUpDevice(ctx workflow.Context, in runbook.DeviceInput) (*device, error) {
	if in.RestoreID == "" || in.OrgID == "" || in.Name == "" {
		return nil, temporal.NewNonRetryableApplicationError(
			"restoreId, orgId and name must be set; device workflows are started by a RestoreWorkflow", string(runbook.CodeInvalidRequest), nil)
	}
	d := &device{
		status: runbook.DeviceStatus{
			RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, Fleet: in.Fleet,
			State: in.State, Restored: in.Restored, Reported: in.Reported, Since: in.Since, Timeline: []runbook.TimelineEntry{},
		},
		inbox: openInbox(ctx),
		turn:  workflow.NewMutex(ctx),
		log:   log.With(workflow.GetLogger(ctx), "restore", in.RestoreID, "org", in.OrgID, "device", in.Name),
	}
	if in.Carried != nil {
		d.status.Timeline, d.status.Dropped = in.Carried.Timeline, in.Carried.Dropped
	}
	if in.State == runbook.StateNormal {
		d.status.Outcome = runbook.OutcomeNormal
	} else if in.State == runbook.StateWithdrawn {
		d.status.Outcome = runbook.OutcomeWithdrawn
	}
	d.showDetails(ctx)
	if err := workflow.SetQueryHandler(ctx, runbook.QueryState, d.describe); err != nil {
		return nil, fmt.Errorf("register query %s: %w", runbook.QueryState, err)
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, runbook.UpdateResume, d.decide,
		workflow.UpdateHandlerOptions{Validator: checkResume, Description: "Resume the device: a human's decision about its conflict"}); err != nil {
		return nil, fmt.Errorf("register update %s: %w", runbook.UpdateResume, err)
	}
	return d, nil
}

// run is the story: messages move the device until it has an outcome. Only the wait between them can be cancelled: a
// message that was read is carried out and answered.
func (d *device) run(ctx workflow.Context) (runbook.DeviceResult, error) {
	steady, _ := workflow.NewDisconnectedContext(ctx)
	for !d.ended() {
		if err := d.awaitMessage(ctx); err != nil {
			return d.lastWords(ctx, err)
		}
		if err := d.readMessages(steady); err != nil {
			return runbook.DeviceResult{}, err
		}
		if !d.ended() && d.historyIsLong(ctx) {
			if err := d.settle(steady); err != nil || !d.ended() {
				return runbook.DeviceResult{}, cmp.Or(err, d.continueAsNew(ctx))
			}
		}
	}
	return d.farewell(ctx)
}

func (d *device) ended() bool { return d.status.Outcome != "" }

// awaitMessage blocks until there is something to read, a decision by update has ended the wait, or updates that were
// refused have made the history long. The error is a cancellation.
func (d *device) awaitMessage(ctx workflow.Context) error {
	return workflow.Await(ctx, func() bool { return d.ended() || !d.inbox.empty() || d.historyIsLong(ctx) })
}

func (d *device) historyIsLong(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested()
}

// farewell refuses what came too late, waits for updates to be answered, and returns the outcome.
func (d *device) farewell(ctx workflow.Context) (runbook.DeviceResult, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := d.settle(ctx); err != nil {
		return runbook.DeviceResult{}, err
	}
	d.log.Info("Device has left the roll call", "outcome", d.status.Outcome, "reported", d.status.Reported)
	return runbook.DeviceResult{
		Outcome: d.status.Outcome, Restored: d.status.Restored, Reported: d.status.Reported,
		Next: d.resume.Next, By: d.resume.By, Reason: d.resume.Reason,
	}, nil
}

// settle empties the inbox and waits until every update has its answer, so that nobody who sent anything is left without.
func (d *device) settle(ctx workflow.Context) error {
	for {
		if err := d.readMessages(ctx); err != nil {
			return err
		}
		if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
			return err
		}
		if d.inbox.empty() {
			return nil
		}
	}
}

// lastWords is what a cancelled wait ends with: superseded where a newer restore has taken over (T6), else the
// cancellation itself, with the device left as it is for a restore that takes the roll up again.
func (d *device) lastWords(ctx workflow.Context, cancelled error) (runbook.DeviceResult, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := cmp.Or(d.learnOfSupersession(ctx), d.settle(ctx)); err != nil {
		return runbook.DeviceResult{}, err
	}
	if d.ended() {
		return d.farewell(ctx)
	}
	return runbook.DeviceResult{}, cancelled
}

// continueAsNew hands the story to a fresh history, before a device that reports for months fills this one.
func (d *device) continueAsNew(ctx workflow.Context) error {
	s := d.status
	return workflow.NewContinueAsNewError(ctx, runbook.DeviceWorkflowName, runbook.DeviceInput{
		RestoreID: s.RestoreID, OrgID: s.OrgID, Name: s.Name, Fleet: s.Fleet, State: s.State,
		Restored: s.Restored, Reported: s.Reported, Since: s.Since,
		Carried: &runbook.Carried{Timeline: s.Timeline, Dropped: s.Dropped},
	})
}
