package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// whyNoAnswer says where to look when a workflow does not answer.
const whyNoAnswer = "is a worker running? A pending activity in the web UI may be the reason as well"

// startPatience is how long a whole resume waits for workflows that a restore is still starting.
const startPatience = 5 * time.Second

// asker puts one human's decision to the workflows of many devices.
type asker struct {
	client    client.Client
	store     *inventory.Store
	request   runbook.ResumeRequest
	requestID string
	// asSelected lets the decision count only for the reported versions with which the devices were selected.
	asSelected bool
	timeout    time.Duration
	// startUntil is how long devices whose workflow has not been started yet are asked again.
	startUntil time.Time
	// answered and unanswered count devices, so that a fleet whose workers are all away is not asked to its last device:
	// each question would wait for a worker and be carried out long after its human has left.
	answered, unanswered atomic.Int64
}

// askAll asks every target's workflow and puts the answers into the report.
func (o *resumeOptions) askAll(ctx context.Context, store *inventory.Store, report *resumeReport, targets []inventory.DeviceStanding) error {
	if len(targets) == 0 {
		return nil
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	a := &asker{
		client: c, store: store, requestID: o.requestID, asSelected: len(o.names) == 0, timeout: o.timeout, startUntil: time.Now().Add(startPatience),
		request: runbook.ResumeRequest{By: o.as, Reason: o.reason, ExpectVersion: o.expectVersion},
	}
	for i, answer := range askEach(ctx, o.io, targets, a.ask) {
		report.add(targets[i], answer)
	}
	return nil
}

// ask puts the decision to one device's workflow and returns its answer, or in the same form what became of the question.
func (a *asker) ask(ctx context.Context, d inventory.DeviceStanding) runbook.ResumeDecision {
	if ctx.Err() != nil {
		return refusedBy(runbook.Refuse(runbook.CodeFailed, "not asked: interrupted"))
	}
	if a.unanswered.Load() > 0 && a.answered.Load() == 0 {
		return refusedBy(runbook.Refuse(runbook.CodeFailed, "not asked: none of the devices asked before has answered; "+whyNoAnswer))
	}
	decision, err := a.update(ctx, d)
	for isNotFound(err) && time.Now().Before(a.startUntil) && startsSoon(ctx, a.store, d.OrgID, d.Name) {
		decision, err = a.update(ctx, d)
	}
	if err == nil {
		a.answered.Add(1)
		return decision
	}
	refusal := a.explain(ctx, d, err)
	if refusal.Code == runbook.CodeOutcomeUnknown {
		a.unanswered.Add(1)
	} else {
		a.answered.Add(1)
	}
	return refusedBy(refusal)
}

// requestFor is the decision about one device. Of a device that nobody named, its human saw no other conflict than the one
// that was selected.
func (a *asker) requestFor(d inventory.DeviceStanding) runbook.ResumeRequest {
	request := a.request
	if a.asSelected {
		request.ExpectVersion = runbook.OrZero(d.Reported)
	}
	return request
}

func (a *asker) update(ctx context.Context, d inventory.DeviceStanding) (decision runbook.ResumeDecision, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	handle, err := a.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(d.OrgID, d.Name),
		UpdateName: runbook.UpdateResume,
		// One id for the decision: asked again after a time-out, the workflow answers as it did the first time.
		UpdateID:     a.requestID,
		Args:         []any{a.requestFor(d)},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &decision)
	}
	return decision, err
}

// explain says what an update's error means for the human who decided. Only an error that Temporal or the workflow gave as
// its answer is a "no"; after any other the decision may have been carried out, or may yet be.
func (a *asker) explain(ctx context.Context, d inventory.DeviceStanding, err error) *runbook.Refusal {
	if refusal := answerOf(err); refusal != nil {
		return refusal
	}
	if isNotFound(err) {
		return whyNobodyWaits(ctx, a.store, d.OrgID, d.Name)
	}
	return runbook.Refuse(runbook.CodeOutcomeUnknown, "outcome unknown: no answer within %s; the decision may yet be carried out. Ask again with `%s`; %s",
		a.timeout, a.again(d), whyNoAnswer)
}

// answerOf is the "no" that Temporal or the workflow gave as its answer; nil where the error is none.
func answerOf(err error) *runbook.Refusal {
	var (
		app       *temporal.ApplicationError
		invalid   *serviceerror.InvalidArgument
		denied    *serviceerror.PermissionDenied
		exhausted *serviceerror.ResourceExhausted
	)
	switch {
	case errors.As(err, &app) && app.Type() != "":
		return runbook.Refuse(runbook.Code(app.Type()), "%s", app.Message())
	case errors.As(err, &app):
		return runbook.Refuse(runbook.CodeFailed, "%s", app.Message())
	case errors.As(err, &invalid), errors.As(err, &denied), errors.As(err, &exhausted):
		return runbook.Refuse(runbook.CodeFailed, "Temporal refused the question: %v", err)
	}
	return nil
}

// again is the command that asks the same question once more.
func (a *asker) again(d inventory.DeviceStanding) string {
	request := a.requestFor(d)
	args := []string{"resume", "device", d.Name, "--request-id", a.requestID, "--as", request.By}
	if request.Reason != "" {
		args = append(args, "--reason", request.Reason)
	}
	if request.ExpectVersion != "" {
		args = append(args, "--expect-version", request.ExpectVersion)
	}
	return command(d.OrgID, args...)
}

func refusedBy(r *runbook.Refusal) runbook.ResumeDecision {
	return runbook.ResumeDecision{Code: r.Code, Message: r.Message}
}

// lastDecision says who resumed or withdrew a device last, for people who come too late; empty where nobody did.
func lastDecision(ctx context.Context, store *inventory.Store, orgID, name string) string {
	rows, err := store.Transitions(ctx, orgID, name, 20)
	if err != nil {
		return ""
	}
	for i := len(rows) - 1; i >= 0; i-- {
		r := rows[i]
		switch r.Transition {
		case runbook.T4:
			return fmt.Sprintf("; %s resumed it at %s", r.Actor, stamp(r.At))
		case runbook.T5:
			return fmt.Sprintf("; it was withdrawn at %s", stamp(r.At))
		case runbook.T1:
			return ""
		}
	}
	return ""
}
