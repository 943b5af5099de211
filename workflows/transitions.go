package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// acts gives the activities' method values their names. Its methods are never called.
var acts *activities.Activities

// runTransition runs one repeatable write. It runs a local activity first. Where that fails it runs a normal activity,
// which is retried without end. It uses a disconnected context, so that a cancellation does not interrupt a write. The
// error is a *runbook.Refusal, or an error that a retry cannot fix.
func runTransition(ctx workflow.Context, summary string, activity, in, out any) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	err := workflow.ExecuteLocalActivity(withFewRetries(ctx, summary), activity, in).Get(ctx, out)
	if err == nil {
		return nil
	}
	if refusal := refusalOf(err); refusal != nil {
		return refusal
	}
	workflow.GetLogger(ctx).Warn("Quick attempts failed, trying patiently", "step", summary, "error", err)
	return runActivity(withEndlessRetries(ctx, summary, transitionDeadline), activity, in, out)
}

// transitionRunner is runTransition or runAccepted.
type transitionRunner func(ctx workflow.Context, summary string, activity, in, out any) error

// runAccepted is runTransition for what an update asks for. It runs a normal activity from the start, whose command is
// stored together with the update's acceptance. A local activity would write before Temporal has stored that there is
// such an update, and a server that is restarted then forgets who asked.
func runAccepted(ctx workflow.Context, summary string, activity, in, out any) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return runActivity(withEndlessRetries(ctx, summary, transitionDeadline), activity, in, out)
}

// runQuickly is runTransition for what a cancellation may end.
func runQuickly(ctx workflow.Context, summary string, activity, in, out any) error {
	err := workflow.ExecuteLocalActivity(withFewRetries(ctx, summary), activity, in).Get(ctx, out)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if refusal := refusalOf(err); refusal != nil {
		return refusal
	}
	workflow.GetLogger(ctx).Warn("Quick attempts failed, trying patiently", "step", summary, "error", err)
	return runActivity(withEndlessRetries(ctx, summary, transitionDeadline), activity, in, out)
}

// runBulk runs one repeatable read or write of many rows as a normal activity, which is retried without end. The error
// is a *runbook.Refusal, a cancellation, or an error that a retry cannot fix.
func runBulk(ctx workflow.Context, summary string, activity, in, out any) error {
	return runActivity(withEndlessRetries(ctx, summary, chunkDeadline), activity, in, out)
}

// runBulkWithHeartbeat is runBulk for an activity that sends heartbeats: another worker runs it within seconds after a
// worker was killed.
func runBulkWithHeartbeat(ctx workflow.Context, summary string, activity, in, out any) error {
	ctx = withEndlessRetries(ctx, summary, chunkDeadline)
	options := workflow.GetActivityOptions(ctx)
	options.HeartbeatTimeout = activities.HeartbeatTimeout
	return runActivity(workflow.WithActivityOptions(ctx, options), activity, in, out)
}

func runActivity(ctx workflow.Context, activity, in, out any) error {
	err := workflow.ExecuteActivity(ctx, activity, in).Get(ctx, out)
	if refusal := refusalOf(err); refusal != nil {
		return refusal
	}
	return err
}

// refusalOf returns the refusal in an activity's error, or nil.
func refusalOf(err error) *runbook.Refusal {
	var app *temporal.ApplicationError
	if errors.As(err, &app) && app.NonRetryable() && app.Type() != "" {
		return &runbook.Refusal{Code: runbook.Code(app.Type()), Message: app.Message()}
	}
	return nil
}

// changeDatabaseRefuses marks the workflows in which the database refuses a decision that comes after another. Those of
// earlier releases refuse it by what they know.
const changeDatabaseRefuses = "database-refuses"

// databaseRefuses reports whether the database says if a late decision counts. It has the first answer to a message
// that is carried out again.
func databaseRefuses(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeDatabaseRefuses, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}
