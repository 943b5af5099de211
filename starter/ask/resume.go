package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// whyNoAnswer says where to look when a workflow does not answer.
const whyNoAnswer = "is a worker running? A pending activity in the web UI may be the reason as well"

// StartTimeout is how long a whole resume waits for workflows that a restore is still starting.
const StartTimeout = 5 * time.Second

// Resumer puts one human's decision to the workflows of devices that were named.
type Resumer struct {
	Client client.Client
	Store  *inventory.Store
	// Request is what they are asked; By, Reason and Origin are Decided's.
	Request   runbook.ResumeRequest
	RequestID string
	// Decided is the decision that is put to them.
	Decided Decided
	Timeout time.Duration
	// Journal keeps who was asked and who has answered; nil keeps nothing.
	Journal *Journal
	// StartUntil is how long devices whose workflow has not been started yet are asked again.
	StartUntil time.Time
	attempts   attempts
}

// Ask puts the decision to one device's workflow and returns its answer, or in the same form what became of the
// question.
func (a *Resumer) Ask(ctx context.Context, d inventory.DevicePosition) runbook.ResumeDecision {
	if refusal := a.attempts.refusal(ctx, "devices"); refusal != nil {
		return refusedBy(refusal)
	}
	a.Journal.Asking(d.Name, a.requestFor(d).ExpectVersion)
	decision, err := a.update(ctx, d)
	for IsNotFound(err) && time.Now().Before(a.StartUntil) && a.Store.StartsSoon(ctx, d.OrgID, d.Name) {
		decision, err = a.update(ctx, d)
	}
	if err != nil {
		decision = refusedBy(explainDevice(ctx, a.Client, a.Store, a.Timeout, d, err, a.again(d)))
	}
	a.attempts.count(a.Journal, d.Name, decision.Code)
	return decision
}

// requestFor is the decision about one device.
func (a *Resumer) requestFor(d inventory.DevicePosition) runbook.ResumeRequest {
	request := a.Request
	request.By, request.Reason, request.Origin = a.Decided.By, a.Decided.Reason, a.Decided.Origin(d.Name)
	return request
}

func (a *Resumer) update(ctx context.Context, d inventory.DevicePosition) (runbook.ResumeDecision, error) {
	ctx, cancel := askContext(ctx, a.Timeout)
	defer cancel()
	return updateDevice[runbook.ResumeDecision](ctx, a.Client, d, runbook.UpdateResume, a.RequestID, a.requestFor(d))
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
	case errors.As(err, &app) && strings.HasPrefix(app.Message(), "unknown update "):
		// These are the SDK's words. A worker of this release knows every update that the command sends.
		return runbook.Refuse(runbook.CodeFailed, "the workers are of an earlier release and do not know the question: "+
			"upgrade the workers first, then ask again (Temporal says: %s)", app.Message())
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
func (a *Resumer) again(d inventory.DevicePosition) string {
	request := a.requestFor(d)
	args := []string{"resume", "device", d.Name, "--request-id", a.RequestID, "--as", request.By}
	if request.Reason != "" {
		args = append(args, "--reason", request.Reason)
	}
	if request.ExpectVersion != "" {
		args = append(args, "--expect-version", request.ExpectVersion)
	}
	return printer.Command(d.OrgID, args...)
}

func refusedBy(r *runbook.Refusal) runbook.ResumeDecision {
	return runbook.ResumeDecision{Code: r.Code, Message: r.Message}
}

// lastDecision says who resumed or withdrew a device last, for people who come too late; empty where no one did.
func lastDecision(ctx context.Context, store *inventory.Store, orgID, name string) string {
	rows, err := store.Transitions(ctx, orgID, name, 20)
	if err != nil {
		return ""
	}
	for i := len(rows) - 1; i >= 0; i-- {
		r := rows[i]
		switch r.Transition {
		case runbook.T4:
			return fmt.Sprintf("; %s resumed it at %s", r.Actor, printer.Stamp(r.At))
		case runbook.T5:
			return fmt.Sprintf("; it was withdrawn at %s", printer.Stamp(r.At))
		case runbook.T1:
			return ""
		}
	}
	return ""
}
