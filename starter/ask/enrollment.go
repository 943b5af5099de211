package ask

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Decider puts one human's decision to the workflows of many enrollment requests.
type Decider struct {
	Client client.Client
	// Queue is the task queue on which workflows are started that do not run.
	Queue     string
	RequestID string
	Timeout   time.Duration
	// Decided is the decision that is put to them.
	Decided Decided
	// Labels are what an approved device gets.
	Labels map[string]string
	// ReplaceLabels makes them all the labels that it gets.
	ReplaceLabels bool
	// Deny makes the decision a denial, and Delete has Flight Control delete the request.
	Deny, Delete bool
	// Journal keeps who was asked and who has answered; nil keeps nothing.
	Journal  *Journal
	attempts attempts
}

// Ask puts the decision to one request's workflow and returns its answer, or in the same form what became of the
// question.
func (a *Decider) Ask(ctx context.Context, e inventory.EnrollmentPosition) runbook.EnrollmentDecision {
	refused := func(r *runbook.Refusal) runbook.EnrollmentDecision {
		return runbook.EnrollmentDecision{Code: r.Code, Message: r.Message}
	}
	switch refusal := a.attempts.refusal(ctx, "requests"); {
	case ctx.Err() == nil && !e.Exists:
		return refused(runbook.AsRefusal(runbook.MayDeny(e.Enrollment, e.Name)))
	case refusal != nil:
		return refused(refusal)
	}
	a.Journal.Asking(e.Name, "")
	decision, err := a.update(ctx, e)
	if err != nil {
		refusal := answerOf(err)
		if refusal == nil {
			refusal = unknown(ctx, a.Client, runbook.EnrollmentWorkflowID(e.OrgID, e.Name), a.Timeout, a.again(e))
		}
		decision = refused(refusal)
	}
	a.attempts.count(a.Journal, e.Name, decision.Code)
	return decision
}

// update asks the request's workflow, which is started where none runs: for a request that arrived when no restore
// looked, and for one whose workflow has ended, which then answers from the database.
func (a *Decider) update(
	ctx context.Context, e inventory.EnrollmentPosition,
) (decision runbook.EnrollmentDecision, err error) {
	ctx, cancel := askContext(ctx, a.Timeout)
	defer cancel()
	id := runbook.EnrollmentWorkflowID(e.OrgID, e.Name)
	by, reason, origin := a.Decided.By, a.Decided.Reason, a.Decided.Origin(e.Name)
	var request any = runbook.ApproveRequest{
		By: by, Reason: reason, Labels: a.Labels, ReplaceLabels: a.ReplaceLabels, ExpectKey: e.Fingerprint, Origin: origin,
	}
	update, updateID := runbook.UpdateApprove, a.RequestID
	if a.Deny {
		request = runbook.DenyRequest{By: by, Reason: reason, Delete: a.Delete, Origin: origin}
		update, updateID = runbook.UpdateDeny, a.Journal.updateID(runbook.UpdateDeny, a.RequestID)
	}
	start := a.Client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: id, TaskQueue: a.Queue, WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		// Search attributes are the workflow's to set: until a worker has run, the server may not know them.
		StaticSummary: "enrollment of " + e.Name,
	}, runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{OrgID: e.OrgID, Name: e.Name})
	handle, err := a.Client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			WorkflowID: id, UpdateName: update,
			// One id for the decision: asked again after a time-out, the answer is as it was the first time.
			UpdateID: updateID, Args: []any{request}, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err == nil {
		err = handle.Get(ctx, &decision)
	}
	return decision, err
}

// again is the command that asks the same question once more.
func (a *Decider) again(e inventory.EnrollmentPosition) string {
	verb := "approve"
	if a.Deny {
		verb = "deny"
	}
	args := []string{verb, "enrollmentrequest", e.Name, "--request-id", a.RequestID, "--as", a.Decided.By}
	if a.Decided.Reason != "" {
		args = append(args, "--reason", a.Decided.Reason)
	}
	if len(a.Labels) > 0 {
		args = append(args, "--label", printer.Pairs(a.Labels))
	}
	if a.ReplaceLabels {
		args = append(args, "--replace-labels")
	}
	if a.Delete {
		args = append(args, "--delete")
	}
	return printer.Command(e.OrgID, args...)
}
