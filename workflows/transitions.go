package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// acts names the activities for method references; it is never called.
var acts *activities.Activities

// carryOut runs one repeatable write: quickly as a local activity, and where that does not get through, as a normal one
// that is tried until it does. It runs on a disconnected context, so that what has begun is finished even when the
// workflow is cancelled. The error is a *runbook.Refusal, or one that no retry can mend.
func carryOut(ctx workflow.Context, summary string, activity, in, out any) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	err := workflow.ExecuteLocalActivity(quick(ctx, summary), activity, in).Get(ctx, out)
	if err == nil {
		return nil
	}
	if refusal := refusalOf(err); refusal != nil {
		return refusal
	}
	workflow.GetLogger(ctx).Warn("Quick attempts failed, trying patiently", "step", summary, "error", err)
	return try(patient(ctx, summary, transitionDeadline), activity, in, out)
}

// insist runs one repeatable read or write of many rows as a normal activity, tried until it succeeds. The error is a
// *runbook.Refusal, a cancellation, or one that no retry can mend.
func insist(ctx workflow.Context, summary string, activity, in, out any) error {
	return try(patient(ctx, summary, chunkDeadline), activity, in, out)
}

func try(ctx workflow.Context, activity, in, out any) error {
	err := workflow.ExecuteActivity(ctx, activity, in).Get(ctx, out)
	if refusal := refusalOf(err); refusal != nil {
		return refusal
	}
	return err
}

// refusalOf reads a refusal back out of an activity's error, or returns nil.
func refusalOf(err error) *runbook.Refusal {
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.NonRetryable() && app.Type() != "" {
		return &runbook.Refusal{Code: runbook.Code(app.Type()), Message: app.Message()}
	}
	return nil
}
