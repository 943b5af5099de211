package main

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
)

// tellInterval is how often a device's story is looked at for the answer to a message.
const tellInterval = 100 * time.Millisecond

// message is a signal to a device's workflow, which has no answer but the entry on the device's timeline.
type message struct {
	// entry holds what tells the message on the timeline: its name, and the version or the person and their reason.
	entry   runbook.TimelineEntry
	payload any
}

// is tells whether an entry of the timeline or the audit is about such a message.
func (m message) is(e runbook.TimelineEntry) bool {
	return e.Message == m.entry.Message &&
		(m.entry.Version == "" || runbook.Storable(m.entry.Version) == runbook.Storable(e.Version)) &&
		runbook.Storable(m.entry.By) == runbook.Storable(e.By) && runbook.Storable(m.entry.Reason) == runbook.Storable(e.Reason)
}

// answer is what became of a message.
type answer struct {
	entry              runbook.TimelineEntry
	restored, reported string
}

// refusal is nil where the message was accepted.
func (a *answer) refusal() *runbook.Refusal {
	if a.entry.Accepted {
		return nil
	}
	return runbook.Refuse(a.entry.Code, "%s", a.entry.Why)
}

// sent is a message under way: the run that has it, and how long the stories were before.
type sent struct {
	message
	runID     string
	restoreID string
	// begun tells that the workflow's story before the message is known: entries in all, and times that the last one came.
	begun          bool
	entries, times int
	// rows is the number of the audit's entries.
	rows int
}

// tell sends a message and waits until the device's story says what became of it; nil is that nothing did in time. Where a
// restore that is being superseded got it, and the newer one has the device, it is sent to that. An error that is a
// *runbook.Refusal says that no workflow waits for the device.
func (d *namedDevice) tell(ctx context.Context, m message, timeout time.Duration) (*answer, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		s, err := d.send(ctx, m, min(timeout, sendTimeout)/3)
		if err != nil {
			return nil, err
		}
		a := d.await(waiting, s)
		if a == nil || !d.isForNewer(waiting, s, a) {
			return a, nil
		}
	}
}

// send sends a message to the run of the device's workflow that there is, and waits a moment for one that is being started.
func (d *namedDevice) send(ctx context.Context, m message, patience time.Duration) (*sent, error) {
	sending, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	s, err := d.sendOnce(sending, m, patience)
	for isNotFound(err) && startsSoon(sending, d.store, d.orgID, d.name) {
		s, err = d.sendOnce(sending, m, patience)
	}
	switch {
	case isNotFound(err):
		return nil, whyNobodyWaits(ctx, d.store, d.orgID, d.name)
	case err != nil:
		return nil, fmt.Errorf("send %q to device %q: %w", m.entry.Message, d.name, err)
	}
	return s, nil
}

func (d *namedDevice) sendOnce(ctx context.Context, m message, patience time.Duration) (*sent, error) {
	run, err := d.client.DescribeWorkflowExecution(ctx, d.workflowID(), "")
	if err != nil {
		return nil, err
	}
	if run.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return nil, serviceerror.NewNotFound("the workflow has ended")
	}
	s := &sent{message: m, runID: run.GetWorkflowExecutionInfo().GetExecution().GetRunId()}
	rows, err := d.transitions(ctx)
	if err != nil {
		return nil, err
	}
	s.rows = len(rows)
	// Without a worker there is no answer; the message is sent all the same, and the audit may tell what becomes of it.
	if status, err := d.story(ctx, s.runID, patience); err == nil {
		s.begin(status)
	}
	return s, d.client.SignalWorkflow(ctx, d.workflowID(), s.runID, m.entry.Message, m.payload)
}

func (s *sent) begin(status runbook.DeviceStatus) {
	s.begun, s.restoreID = true, status.RestoreID
	s.entries = status.Dropped + len(status.Timeline)
	if n := len(status.Timeline); n > 0 {
		s.times = max(status.Timeline[n-1].Times, 1)
	}
}

// story asks a run of the device's workflow for its state.
func (d *namedDevice) story(ctx context.Context, runID string, patience time.Duration) (status runbook.DeviceStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return status, queryRun(ctx, d.client, d.workflowID(), runID, runbook.QueryState, &status)
}

// await looks at the device's story until it tells what became of a message, or ctx ends.
func (d *namedDevice) await(ctx context.Context, s *sent) *answer {
	for {
		if a := d.look(ctx, s); a != nil {
			return a
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tellInterval):
		}
	}
}

func (d *namedDevice) look(ctx context.Context, s *sent) *answer {
	if s.begun {
		if status, err := d.story(ctx, s.runID, queryTimeout); err == nil {
			return s.onTimeline(status)
		}
	}
	// What a run has written is in the audit before it ends.
	over := d.hasEnded(ctx, s.runID)
	rows, err := d.transitions(ctx)
	if err != nil {
		return nil
	}
	a := s.inAudit(rows[min(s.rows, len(rows)):])
	if a == nil && over {
		e := s.entry
		e.Accepted, e.Code, e.Why = false, runbook.CodeNotWaiting, "its workflow ended, and nothing came of the message"
		a = &answer{entry: e}
	}
	return a
}

// hasEnded tells whether a run of the device's workflow is over and no other has its story.
func (d *namedDevice) hasEnded(ctx context.Context, runID string) bool {
	run, err := d.client.DescribeWorkflowExecution(ctx, d.workflowID(), runID)
	if err != nil {
		return false
	}
	status := run.GetWorkflowExecutionInfo().GetStatus()
	return status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING && status != enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
}

// onTimeline finds the answer among the entries that are new, or the last one before, which may have been counted on.
func (s *sent) onTimeline(status runbook.DeviceStatus) *answer {
	for i, e := range status.Timeline {
		at := status.Dropped + i
		again := at == s.entries-1 && max(e.Times, 1) > s.times
		if s.is(e) && (at >= s.entries || again) {
			return &answer{entry: e, restored: status.Restored, reported: status.Reported}
		}
	}
	return nil
}

// inAudit finds the answer among the new entries of the audit. What else ended the device's wait is one too.
func (s *sent) inAudit(rows []inventory.TransitionRow) *answer {
	for _, r := range rows {
		e := auditEntry(r)
		if r.Actor == inventory.ActorService {
			e.By, e.Reason = "", ""
		}
		if !s.is(e) && (r.To == "" || r.To.Open()) {
			continue
		}
		if !s.is(e) && r.Transition != runbook.T5 {
			e.Accepted, e.Code = false, runbook.CodeNotWaiting
			e.Why = fmt.Sprintf("it was %s before the message was read", r.To)
		}
		return &answer{entry: e, restored: r.Restored, reported: r.Reported}
	}
	return nil
}

// isForNewer tells whether a message was refused only because the restore that got it is over, and a newer one waits for
// the device, or is about to.
func (d *namedDevice) isForNewer(ctx context.Context, s *sent, a *answer) bool {
	if a.entry.Accepted || a.entry.Code != runbook.CodeSuperseded && a.entry.Code != runbook.CodeNotWaiting {
		return false
	}
	for {
		standing, err := standingOf(ctx, d.store, d.orgID, d.name)
		switch {
		case err != nil || standing == nil || !standing.State.Open():
			return false
		case standing.RestoreID != "":
			return standing.RestoreID != s.restoreID
		case !d.anyRuns(ctx):
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(tellInterval):
		}
	}
}

// anyRuns tells whether a restore runs, which may be about to put the device on its roll.
func (d *namedDevice) anyRuns(ctx context.Context) bool {
	restores, err := d.store.Restores(ctx, 100)
	if err != nil {
		return false
	}
	for _, r := range restores {
		if r.State == runbook.RestoreRunning {
			return true
		}
	}
	return false
}

// transitions is the whole audit of the device.
func (d *namedDevice) transitions(ctx context.Context) ([]inventory.TransitionRow, error) {
	rows, err := d.store.Transitions(ctx, d.orgID, d.name, 0)
	if err != nil {
		return nil, fmt.Errorf("read the audit of device %q: %w", d.name, err)
	}
	return rows, nil
}

// auditEntry is an entry of the audit in the form of the timeline.
func auditEntry(r inventory.TransitionRow) runbook.TimelineEntry {
	return runbook.TimelineEntry{
		At: r.At, Message: r.Signal, Accepted: r.Transition != runbook.Refused, Transition: r.Transition, From: r.From, To: r.To,
		Version: r.Reported, By: r.Actor, Reason: r.Reason, Code: r.Code, Why: r.Message,
	}
}

// refused is how a command ends whose message was refused.
func (d *namedDevice) refused(r *runbook.Refusal) error {
	return fmt.Errorf("device %q: refused (%s): %w", d.name, r.Code, runbook.Refuse(r.Code, "%s", oneLine(r.Message)))
}

// describe is the command that shows the device.
func (d *namedDevice) describe() string { return command(d.orgID, "describe", "device", d.name) }

// queryRun asks one run of a workflow; an empty runID is the newest.
func queryRun(ctx context.Context, c client.Client, workflowID, runID, name string, out any) error {
	value, err := c.QueryWorkflow(ctx, workflowID, runID, name)
	if err == nil {
		err = value.Get(out)
	}
	if err != nil && expired(ctx, err) {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return fmt.Errorf("ask %s for its %s: %w", workflowID, name, err)
	}
	return nil
}
