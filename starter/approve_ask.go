package main

import (
	"context"
	"sync/atomic"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
)

// askAll puts the decision to every target's workflow and the answers into the report.
func (o *enrollOptions) askAll(ctx context.Context, report *enrollReport, targets []inventory.EnrollmentStanding) error {
	if len(targets) == 0 {
		return nil
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	a := &enrollAsker{enrollOptions: o, client: c}
	for i, answer := range askEach(ctx, o.io, targets, a.ask) {
		report.add(targets[i].Name, answer)
	}
	return nil
}

// enrollAsker puts one human's decision to the workflows of many enrollment requests.
type enrollAsker struct {
	*enrollOptions
	client client.Client
	// answered and unanswered count requests, so that where no worker answers not every one is asked.
	answered, unanswered atomic.Int64
}

// ask puts the decision to one request's workflow and returns its answer, or in the same form what became of the question.
func (a *enrollAsker) ask(ctx context.Context, e inventory.EnrollmentStanding) runbook.EnrollmentDecision {
	refused := func(r *runbook.Refusal) runbook.EnrollmentDecision {
		return runbook.EnrollmentDecision{Code: r.Code, Message: r.Message}
	}
	switch {
	case ctx.Err() != nil:
		return refused(runbook.Refuse(runbook.CodeFailed, "not asked: interrupted"))
	case !e.Exists:
		return refused(runbook.AsRefusal(runbook.MayDeny(e.Enrollment, e.Name)))
	case a.unanswered.Load() > 0 && a.answered.Load() == 0:
		return refused(runbook.Refuse(runbook.CodeFailed, "not asked: none of the requests asked before has answered; is a worker running?"))
	}
	decision, err := a.update(ctx, e)
	if err == nil {
		a.answered.Add(1)
		return decision
	}
	if refusal := answerOf(err); refusal != nil {
		a.answered.Add(1)
		return refused(refusal)
	}
	a.unanswered.Add(1)
	return refused(runbook.Refuse(runbook.CodeOutcomeUnknown, "outcome unknown: no answer within %s (is a worker running?); the decision may yet be carried out. Ask again with `%s`",
		a.timeout, a.again(e)))
}

// update asks the request's workflow, which is started where none runs: for a request that arrived when no restore looked,
// and for one whose workflow has ended, which then answers from the database.
func (a *enrollAsker) update(ctx context.Context, e inventory.EnrollmentStanding) (decision runbook.EnrollmentDecision, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	id := runbook.EnrollmentWorkflowID(e.OrgID, e.Name)
	var request any = runbook.ApproveRequest{By: a.as, Reason: a.reason, Labels: a.labels, ExpectKey: e.Fingerprint}
	update := runbook.UpdateApprove
	if a.deny {
		request, update = runbook.DenyRequest{By: a.as, Reason: a.reason}, runbook.UpdateDeny
	}
	start := a.client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: id, TaskQueue: a.queue(), WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		// Search attributes are the workflow's to set: until a worker has run, the server may not know them.
		StaticSummary: "enrollment of " + e.Name,
	}, runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{OrgID: e.OrgID, Name: e.Name})
	handle, err := a.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			WorkflowID: id, UpdateName: update,
			// One id for the decision: asked again after a time-out, the answer is as it was the first time.
			UpdateID: a.requestID, Args: []any{request}, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err == nil {
		err = handle.Get(ctx, &decision)
	}
	return decision, err
}

// again is the command that asks the same question once more.
func (a *enrollAsker) again(e inventory.EnrollmentStanding) string {
	verb := "approve"
	if a.deny {
		verb = "deny"
	}
	args := []string{verb, "enrollmentrequest", e.Name, "--request-id", a.requestID, "--as", a.as}
	if a.reason != "" {
		args = append(args, "--reason", a.reason)
	}
	if len(a.labels) > 0 {
		args = append(args, "--label", pairs(a.labels))
	}
	return command(e.OrgID, args...)
}
