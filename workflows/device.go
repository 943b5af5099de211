package workflows

import (
	"cmp"
	"fmt"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// DeviceWorkflow is one device's part in a roll call: it waits for the device to reconnect, lets it go back to normal
// or holds it for a human, and ends with its outcome. It starts in whatever state the database says. A cancellation
// ends its wait and leaves the device as it is.
func DeviceWorkflow(ctx workflow.Context, in runbook.DeviceInput) (runbook.DeviceResult, error) {
	d, err := setUpDevice(ctx, in)
	if err != nil {
		return runbook.DeviceResult{}, err
	}
	if in.ReadStory && in.Carried == nil {
		if err := d.readStory(ctx); err != nil {
			return runbook.DeviceResult{}, err
		}
	}
	return d.run(ctx)
}

// device is the state of one DeviceWorkflow.
type device struct {
	status runbook.DeviceStatus
	inbox  *mailbox
	// mutex lets one message at a time move the device, so that the second of two decisions sees the result of the first.
	mutex workflow.Mutex
	// tellRestore has the workflow tell its restore when it ends.
	tellRestore bool
	// reportWrittenAt is when a report of a paused device that says nothing new was last written to the database.
	reportWrittenAt time.Time
	// first is what the device begins with, before it reads any message but early resumes; nil is nothing.
	first func(workflow.Context) error
	// resume is the decision that ended the conflict.
	resume runbook.ResumeDecision
	// decided is a decision that Flight Control has yet to carry out, for the details alone: the database says what
	// counts.
	decided runbook.ResumeDecision
	// lost is why the wait has ended without an outcome: the database does not have the device on the roll any more.
	lost *runbook.Refusal
	// mode is the restore's, for the details alone.
	mode runbook.Mode
	log  log.Logger
}

// setUpDevice checks the input and registers all handlers before the workflow first blocks.
func setUpDevice(ctx workflow.Context, in runbook.DeviceInput) (*device, error) {
	if in.RestoreID == "" || in.OrgID == "" || in.Name == "" {
		return nil, temporal.NewNonRetryableApplicationError(
			"restoreId, orgId and name must be set; device workflows are started by a RestoreWorkflow",
			string(runbook.CodeInvalidRequest), nil)
	}
	d := &device{
		status: runbook.DeviceStatus{
			RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, Fleet: in.Fleet,
			State: in.State, Restored: in.Restored, Reported: in.Reported, Since: in.Since, Timeline: []runbook.TimelineEntry{},
		},
		inbox: openMailbox(ctx, runbook.SignalReconnect, runbook.SignalResume, runbook.SignalWithdraw, runbook.SignalLook),
		mutex: workflow.NewMutex(ctx),

		tellRestore:     in.TellRestore,
		reportWrittenAt: workflow.Now(ctx),
		mode:            in.Mode,

		log: log.With(workflow.GetLogger(ctx), "restore", in.RestoreID, "org", in.OrgID, "device", in.Name),
	}
	if in.Carried != nil {
		d.status.Timeline, d.status.Dropped = in.Carried.Timeline, in.Carried.Dropped
	}
	d.first = d.beginning(ctx, in)
	if in.State == runbook.StateNormal {
		d.status.Outcome = runbook.OutcomeNormal
	} else if in.State == runbook.StateWithdrawn {
		d.status.Outcome = runbook.OutcomeWithdrawn
	}
	d.showDetails(ctx)
	if err := workflow.SetQueryHandler(ctx, runbook.QueryState, d.describe); err != nil {
		return nil, fmt.Errorf("register query %s: %w", runbook.QueryState, err)
	}
	return d, d.listen(ctx)
}

// listen registers the updates. Their validators turn away what cannot be read at all, which leaves nothing in the
// history. What may not count is accepted as a message, and answered with a refusal that timeline and audit have.
func (d *device) listen(ctx workflow.Context) error {
	return cmp.Or(
		answerUpdates(ctx, runbook.UpdateResume, "Resume the device: a human's decision about its conflict", nil, d.decide),
		answerUpdates(ctx, runbook.UpdateReconnect, "Report which version the device runs, on its behalf", nil,
			d.answerReconnect),
		answerUpdates(ctx, runbook.UpdateWithdraw, "Take the device off the roll: it was deleted or decommissioned", nil,
			d.answerWithdraw),
	)
}

// beginning is what a device that awaits its reconnect begins with: the report that came before its workflow started,
// or a look at where another hand has put it. nil is a device that waits.
func (d *device) beginning(ctx workflow.Context, in runbook.DeviceInput) func(workflow.Context) error {
	id := "start/" + workflow.GetInfo(ctx).WorkflowExecution.RunID
	switch {
	case in.State != runbook.StateAwaitingReconnect:
		return nil
	case in.Noted != "":
		return func(ctx workflow.Context) error {
			noted := runbook.ReconnectSignal{RenderedVersion: in.Noted, Agent: true}
			return d.reconnect(ctx, envelope[runbook.ReconnectSignal]{message: noted, requestID: id})
		}
	case in.Look:
		return func(ctx workflow.Context) error { return d.sync(ctx, envelope[runbook.LookSignal]{requestID: id}) }
	}
	return nil
}

// run is the story: messages move the device until it has an outcome. Only the wait between them can be cancelled: a
// message that was read is carried out and answered.
func (d *device) run(ctx workflow.Context) (runbook.DeviceResult, error) {
	steady, _ := workflow.NewDisconnectedContext(ctx)
	for !d.ended() {
		if err := d.awaitMessage(ctx); err != nil {
			return d.finishCancelled(ctx, err)
		}
		if err := d.readMessages(steady); err != nil {
			return runbook.DeviceResult{}, err
		}
		if !d.ended() && d.historyIsLong(ctx) {
			if err := d.drain(steady); err != nil || !d.ended() {
				return runbook.DeviceResult{}, cmp.Or(err, d.continueAsNew(ctx))
			}
		}
	}
	return d.finish(ctx)
}

func (d *device) ended() bool { return d.status.Outcome != "" || d.lost != nil }

// awaitMessage blocks until there is something to read, a decision by update has ended the wait, or updates that were
// refused have made the history long. The error is a cancellation.
func (d *device) awaitMessage(ctx workflow.Context) error {
	return workflow.Await(ctx, func() bool {
		return d.ended() || d.first != nil || !d.inbox.empty(ctx) ||
			d.historyIsLong(ctx)
	})
}

func (d *device) historyIsLong(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested()
}

// finish refuses messages that came too late, waits until updates are answered, and returns the outcome. A device
// whose place on the roll was lost has none.
func (d *device) finish(ctx workflow.Context) (runbook.DeviceResult, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := d.drain(ctx); err != nil {
		return runbook.DeviceResult{}, err
	}
	if d.tellRestore {
		ended := runbook.LateJoinerEndedSignal{OrgID: d.status.OrgID, Name: d.status.Name, Outcome: d.status.Outcome}
		if err := signalLateJoinerEnded(ctx, d.status.RestoreID, ended); err != nil {
			d.log.Info("Restore is not there to be told", "error", err)
		}
	}
	if d.lost != nil {
		return runbook.DeviceResult{}, asFailure(d.lost)
	}
	d.log.Info("Device has left the roll call", "outcome", d.status.Outcome, "reported", d.status.Reported)
	return runbook.DeviceResult{
		Outcome: d.status.Outcome, Restored: d.status.Restored, Reported: d.status.Reported,
		Next: d.resume.Next, By: d.resume.By, Reason: d.resume.Reason,
	}, nil
}

// drain reads all messages and waits until every update is answered.
func (d *device) drain(ctx workflow.Context) error {
	for {
		if err := d.readMessages(ctx); err != nil {
			return err
		}
		if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
			return err
		}
		if d.inbox.empty(ctx) {
			return nil
		}
	}
}

// finishCancelled ends a cancelled wait. The outcome is superseded where a newer restore has taken over (T6).
// Otherwise it returns the cancellation and leaves the device as it is, for a restore that is taken up again.
func (d *device) finishCancelled(ctx workflow.Context, cancelled error) (runbook.DeviceResult, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := cmp.Or(d.learnOfSupersession(ctx), d.drain(ctx)); err != nil {
		return runbook.DeviceResult{}, err
	}
	if d.ended() {
		return d.finish(ctx)
	}
	return runbook.DeviceResult{}, cancelled
}

// continueAsNew hands the story to a fresh history, before a device that reports for months fills this one.
func (d *device) continueAsNew(ctx workflow.Context) error {
	s := d.status
	return workflow.NewContinueAsNewError(ctx, runbook.DeviceWorkflowName, runbook.DeviceInput{
		RestoreID: s.RestoreID, OrgID: s.OrgID, Name: s.Name, Fleet: s.Fleet, State: s.State,
		Restored: s.Restored, Reported: s.Reported, Since: s.Since,
		TellRestore: d.tellRestore, Mode: d.mode,
		Carried: &runbook.Carried{Timeline: s.Timeline, Dropped: s.Dropped},
	})
}
