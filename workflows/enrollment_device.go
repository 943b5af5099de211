package workflows

import (
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// runRollCall runs the workflow of a device that joined late until the restore no longer waits for the device. A
// workflow that ended without a result is started again while the database says that the device waits. Where the
// restore was taken up again and runs that workflow itself, runRollCall waits for its end.
func (e *enrollment) runRollCall(ctx workflow.Context) error {
	restoreID := e.status.Decision.RestoreID
	if restoreID == "" {
		return nil
	}
	e.calling = true
	defer func() { e.calling = false }()
	defer e.tellRestore(ctx, restoreID)
	var pause time.Duration
	for again := false; ; again = true {
		entry, err := e.waitingEntry(ctx, restoreID)
		if err != nil {
			return err
		}
		if entry == nil {
			e.calling = false
			return e.checkDecision(ctx)
		}
		err = e.runDevice(ctx, restoreID, *entry, again)
		if err == nil || ctx.Err() != nil {
			return err
		}
		e.log.Warn("The device's workflow ended without a result and is looked up again", "error", err)
		pause = nextPoll(pause, false, workflow.GetInfo(ctx).GetCurrentHistoryLength())
		timer := workflow.NewTimerWithOptions(ctx, pause, workflow.TimerOptions{Summary: "start again what was interrupted"})
		if err := timer.Get(ctx, nil); err != nil {
			return err
		}
	}
}

// changeLostDecision marks the enrollment workflows that ask the database whether it still knows their decision. Those
// of earlier releases have gone by what they knew.
const changeLostDecision = "lost-decision"

// checkDecision takes the decision back where the database does not know it, because it was put back to an earlier
// moment: its state stands. What was decided is named in the audit. The request is pending then, or stands where
// Flight Control has brought it.
func (e *enrollment) checkDecision(ctx workflow.Context) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := e.mutex.Lock(ctx); err != nil {
		return err
	}
	defer e.mutex.Unlock()
	return e.checkLocked(ctx)
}

// checkLocked is checkDecision for a caller that holds the mutex.
func (e *enrollment) checkLocked(ctx workflow.Context) error {
	if !e.decided() ||
		workflow.GetVersion(ctx, changeLostDecision, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	decision := *e.status.Decision
	if stands, err := e.stands(ctx, decision); err != nil || stands {
		return err
	}
	return e.takeBack(ctx, decision)
}

// stands reports whether the database knows a decision.
func (e *enrollment) stands(ctx workflow.Context, decision runbook.EnrollmentDecision) (bool, error) {
	in := activities.DecisionStandsInput{OrgID: e.status.OrgID, Name: e.status.Name}
	if decision.At != nil {
		in.At = *decision.At
	}
	var found activities.DecisionStandsResult
	err := runTransition(ctx, "does the database know the decision", acts.DecisionStands, in, &found)
	return found.Stands, err
}

// takeBack has the request wait again, after its decision was lost.
func (e *enrollment) takeBack(ctx workflow.Context, lost runbook.EnrollmentDecision) error {
	if err := e.nameLost(ctx, lost); err != nil {
		return err
	}
	e.status.State, e.status.Decision, e.elsewhere, e.device = runbook.EnrollmentPending, nil, false, nil
	e.showDetails(ctx)
	if e.calling { // the workflow of its device waits for a device that is on no roll
		look := workflow.SignalExternalWorkflow(ctx, runbook.DeviceWorkflowID(e.status.OrgID, e.status.Name), "",
			runbook.SignalLook, runbook.LookSignal{})
		if err := look.Get(ctx, nil); err != nil {
			e.log.Info("The device's workflow is not there to be told", "error", err)
		}
	}
	return e.followElsewhere(ctx, "followed/"+e.decisionID(ctx, lost))
}

// nameLost names a decision in the audit that the database does not know any more.
func (e *enrollment) nameLost(ctx workflow.Context, lost runbook.EnrollmentDecision) error {
	entry := runbook.TimelineEntry{Message: lost.Signal(), By: lost.By, Reason: lost.Reason}
	_, err := e.refuse(ctx, sent{entry: entry}, runbook.LostDecision(lost), "lost/"+e.decisionID(ctx, lost))
	return err
}

// decisionID names a decision that this run has taken.
func (e *enrollment) decisionID(ctx workflow.Context, d runbook.EnrollmentDecision) string {
	var at time.Time
	if d.At != nil {
		at = *d.At
	}
	return fmt.Sprintf("%s/%d", workflow.GetInfo(ctx).WorkflowExecution.RunID, at.UnixMilli())
}

func (e *enrollment) waitingEntry(ctx workflow.Context, restoreID string) (*activities.RollEntry, error) {
	var found activities.WaitingEntryResult
	in := activities.WaitingEntryInput{RestoreID: restoreID, OrgID: e.status.OrgID, Name: e.status.Name}
	// One row is read in milliseconds: a worker that was killed meanwhile is not waited for.
	err := runActivity(withEndlessRetries(ctx, "is the device waited for", transitionDeadline), acts.WaitingEntry, in,
		&found)
	return found.Entry, err
}

func (e *enrollment) runDevice(ctx workflow.Context, restoreID string, entry activities.RollEntry, again bool) error {
	options := deviceOptions(restoreID, entry)
	// Abandoned, not terminated: the restore waits for the device and not for us, and whoever terminates an enrollment
	// that is approved must not leave a device on the roll that nothing listens to.
	options.ParentClosePolicy = enumspb.PARENT_CLOSE_POLICY_ABANDON
	var result runbook.DeviceResult
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, options), runbook.DeviceWorkflowName,
		deviceInput(restoreID, entry, again)).Get(ctx, &result)
	if err == nil {
		e.device = &result
		e.showDetails(ctx)
	}
	return err
}

// tellRestore tells the restore that it need not wait for the device any more, so that it closes at once. One that has
// itself gone needs no word.
func (e *enrollment) tellRestore(ctx workflow.Context, restoreID string) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	ended := runbook.LateJoinerEndedSignal{OrgID: e.status.OrgID, Name: e.status.Name}
	if e.device != nil {
		ended.Outcome = e.device.Outcome
	}
	if err := signalLateJoinerEnded(ctx, restoreID, ended); err != nil {
		e.log.Info("Restore is not there to be told", "error", err)
	}
}

// signalLateJoinerEnded tells a restore that a device whose workflow is not its child no longer waits.
func signalLateJoinerEnded(ctx workflow.Context, restoreID string, ended runbook.LateJoinerEndedSignal) error {
	return workflow.SignalExternalWorkflow(ctx, runbook.RestoreWorkflowID(restoreID), "", runbook.SignalLateJoinerEnded,
		ended).Get(ctx, nil)
}

// showDetails sets what the web UI shows of the request: first what it waits for and the commands that decide, then
// what was said so far.
func (e *enrollment) showDetails(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, enrollmentDetails(e.status, e.device))
}

func enrollmentDetails(s runbook.EnrollmentStatus, device *runbook.DeviceResult) string {
	var b strings.Builder
	switch {
	case s.State == runbook.EnrollmentPending:
		writePending(&b, s)
	case s.State == runbook.EnrollmentGone:
		b.WriteString("**The enrollment request is gone.** There is nothing left to decide.")
	default:
		fmt.Fprintf(&b, "**%s by %s.**", s.State, cell(orNone(s.Decision.By)))
		if s.Decision.Reason != "" {
			fmt.Fprintf(&b, " Reason: %s", cell(s.Decision.Reason))
		}
	}
	switch {
	case device != nil:
		fmt.Fprintf(&b, " Its device has left the roll call of restore %s: %s.", s.RestoreID, device.Outcome)
	case s.Decision != nil && s.Decision.RestoreID != "":
		fmt.Fprintf(&b, " Its device is on the roll of restore %s:\n\n```\nstarter describe device %s%s\n```\n", s.RestoreID,
			s.Name, orgFlag(s.OrgID))
	case s.Decision != nil && s.Decision.Device == runbook.StateAwaitingReconnect:
		b.WriteString(" No restore runs; the device awaits its reconnect until the next one has it on its roll.")
	}
	writeTimeline(&b, s.Timeline)
	return b.String()
}

func writePending(b *strings.Builder, s runbook.EnrollmentStatus) {
	name := "enrollmentrequest " + s.Name
	b.WriteString("**Waits for a human** to let the device in, or to keep it out.\n\n")
	writeCommands(b, command("starter get", s.OrgID, name, "-o yaml"),
		command("starter approve", s.OrgID, name, "--label site=SITE", `--reason "…"`),
		command("starter deny", s.OrgID, name, `--reason "…"`))
	b.WriteString("\nThe same with Temporal's own command line:\n\n")
	writeCommands(b, "temporal workflow signal --name approve \\\n    --workflow-id "+
		runbook.EnrollmentWorkflowID(s.OrgID, s.Name)+
		" \\\n    --input '{\"by\":\"you\",\"reason\":\"…\",\"labels\":{\"site\":\"SITE\"}}'")
}
