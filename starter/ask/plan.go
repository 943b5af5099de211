package ask

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/runbook"
	"rollcall/starter/printer"
)

// planInterval is how often a plan that is watched is asked where it stands.
const planInterval = time.Second

// Plan is a plan whose workflow is started, watched, or told a human's word.
type Plan struct {
	ID, OrgID string
	Client    client.Client
	// Queue is the task queue of the workers.
	Queue string
	// Say tells the operator how the plan goes.
	Say func(string)
	// Stands is told where the plan stands, in the place of Say; nil leaves that to Say.
	Stands func(runbook.PlanProgress)
	// GiveUp is how long a plan that does not answer is watched; 0 is for ever.
	GiveUp time.Duration
}

func (p Plan) workflowID() string { return runbook.ResumeWorkflowID(p.ID) }

// Show is the command that shows the plan.
func (p Plan) Show() string { return printer.Command(p.OrgID, "plan", "show", p.ID) }

// Start starts the plan's workflow and returns the id of its run; empty where one runs already.
func (p Plan) Start(ctx context.Context, in runbook.PlanInput) (runID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	started, err := p.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: p.workflowID(), TaskQueue: p.Queue,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            fmt.Sprintf("Plan %s, decided by %s", p.ID, in.By),
	}, runbook.ResumeWorkflowName, in)
	var running *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.As(err, &running):
		p.Say(fmt.Sprintf("plan %s runs already; watching it", p.ID))
		return "", nil
	case err != nil:
		return "", fmt.Errorf("start plan %s: %w", p.ID, err)
	}
	return started.GetRunID(), nil
}

// leftError is the error of a plan that goes on without its operator.
type leftError struct{ error }

// Unwrap is the cause.
func (e leftError) Unwrap() error { return e.error }

// IsLeft reports whether an error of Watch is that the plan is no longer watched, and goes on.
func IsLeft(err error) bool {
	var left leftError
	return errors.As(err, &left)
}

// Watch says how the plan goes until it has ended or is held, and returns where it stands then. The plan goes on when
// ctx ends, or after GiveUp: see IsLeft.
func (p Plan) Watch(ctx context.Context, runID string) (runbook.PlanProgress, error) {
	ended := make(chan planEnd, 1)
	go func() {
		var end planEnd
		end.err = p.Client.GetWorkflow(ctx, p.workflowID(), runID).Get(ctx, &end.stands)
		ended <- end
	}()
	answered := time.Now()
	for last := ""; ; {
		select {
		case end := <-ended:
			if end.err == nil || ctx.Err() != nil {
				return end.stands, p.left(ctx)
			}
			return end.stands, fmt.Errorf("plan %s: %w", p.ID, plainly(end.err))
		case <-ctx.Done():
			return runbook.PlanProgress{}, p.left(ctx)
		case <-time.After(planInterval):
		}
		now, err := p.progress(ctx)
		if err == nil {
			answered = time.Now()
		} else if p.GiveUp > 0 && time.Since(answered) > p.GiveUp && ctx.Err() == nil {
			return now, leftError{fmt.Errorf("plan %s does not answer; %s", p.ID, whyNoAnswer)}
		}
		line := fmt.Sprintf("plan %s, wave %d of %d: %s", p.ID, now.Wave, now.Waves, PlanTallyLine(now.PlanTally))
		if err != nil {
			line = fmt.Sprintf("plan %s does not answer; is a worker running?", p.ID)
		}
		switch {
		case err == nil && p.Stands != nil:
			p.Stands(now)
		case line != last && ctx.Err() == nil:
			p.Say(line)
			last = line
		}
		if err == nil && now.State == runbook.PlanHeld {
			return now, nil
		}
	}
}

// planEnd is how the workflow of a plan ended.
type planEnd struct {
	stands runbook.PlanProgress
	err    error
}

// left is the error of an operator who stopped watching; nil where none did.
func (p Plan) left(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return leftError{
		fmt.Errorf("stopped watching; plan %s goes on: see `%s` (%w)", p.ID, p.Show(), context.Cause(ctx)),
	}
}

// progress asks the workflow where the plan stands.
func (p Plan) progress(ctx context.Context) (now runbook.PlanProgress, err error) {
	ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	err = Query(ctx, p.Client, p.workflowID(), runbook.QueryPlan, &now)
	return now, err
}

// Tell sends the plan a human's word, and returns where it stands after it. The same word sent again under the same id
// gets its first answer; again is the command that does so.
func (p Plan) Tell(
	ctx context.Context, update, id, again string, timeout time.Duration, command runbook.PlanCommand,
) (now runbook.PlanProgress, err error) {
	asking, cancel := askContext(ctx, timeout)
	defer cancel()
	handle, err := p.Client.UpdateWorkflow(asking, client.UpdateWorkflowOptions{
		WorkflowID: p.workflowID(), UpdateName: update, UpdateID: update + "/" + id,
		WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{command},
	})
	if err == nil {
		err = handle.Get(asking, &now)
	}
	refusal := answerOf(err)
	switch {
	case err == nil:
		return now, nil
	case IsNotFound(err):
		return now, fmt.Errorf("no workflow runs plan %s: it has not begun, or has ended; see `%s`", p.ID, p.Show())
	case refusal != nil:
		return now, fmt.Errorf("tell plan %s to %s: %w", p.ID, update, refusal)
	}
	return now, unknown(ctx, p.Client, p.workflowID(), timeout, again)
}

// PlanTallyLine is where the devices of a plan stand, in one line.
func PlanTallyLine(t runbook.PlanTally) string {
	return fmt.Sprintf("%s: %d applied, %d not reported yet, %d failed, %d away, %d refused, %d without an answer, %d "+
		"not asked",
		printer.Count(t.Total, "device"), t.Applied, t.Pending, t.Failed, t.Away, t.Refused, t.Unknown, t.NotAsked)
}

// plainly is a workflow's own words, without the names that Temporal puts around them.
func plainly(err error) error {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return runbook.Refuse(runbook.Code(app.Type()), "%s", app.Message())
	}
	return err
}
