package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// transitionDeadline bounds one attempt at a transition, quick or patient: a write of a run that has ended comes no later
// than this, so that whoever reads the database after twice as long reads what that run has left. (Only a network that fails
// in that moment can hold a write back for longer. It is then compared and set as any other, and who has read before it
// follows the database when next told to look, or when a write of its own meets it.)
const transitionDeadline = 2 * time.Second

// chunkDeadline bounds one attempt at what reads or writes thousands of rows.
const chunkDeadline = 2 * time.Minute

// quick is for a write of a few milliseconds that nearly always succeeds: a local activity costs one event instead of six.
// Its few attempts fit well into a workflow task; what fails longer goes on under patient.
func quick(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    transitionDeadline,
		ScheduleToCloseTimeout: 2 * transitionDeadline,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    50 * time.Millisecond,
			BackoffCoefficient: 2,
			MaximumAttempts:    3,
		},
		Summary: summary,
	})
}

// patient is for what must happen however long the database is away: tried without end, at most a minute apart, and seen
// as a pending activity, with its last failure, in the web UI. deadline bounds one attempt.
func patient(ctx workflow.Context, summary string, deadline time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: deadline,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
		},
		Summary: summary,
	})
}

// The inventory watch says that it lives at least every heartbeatTimeout, or another worker goes on with it; watchTurn is
// when it is handed on in any case, which costs no event.
const (
	heartbeatTimeout = 30 * time.Second
	watchTurn        = 24 * time.Hour
)

// watching is for the inventory watch, which runs as long as its restore: an attempt that ends, however, is followed by
// the next without end. It is not waited for when it is cancelled, because it does nothing for a restore that has ended.
func watching(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: watchTurn,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    10 * time.Second,
		},
		Summary: summary,
	})
}

// predecessorPatience is how long a restore waits to hear that the one which it superseded has ended its waits, before it
// starts its own and lets each device's start be tried again until the name is free.
const predecessorPatience = time.Minute

// A child that ended without an outcome (terminated in the web UI, or its name was still taken) is started again after
// firstRestart, when no write of it can come any more, and each further time after twice as long, up to lastRestart. After
// calm without an interruption it begins anew.
const (
	firstRestart = 2 * transitionDeadline
	calm         = time.Hour
	lastRestart  = 5 * time.Minute
)

// nextLook is how long a restore leaves its tally alone before it reads it again for the current details: soon while it
// changes, rarely while it does not, and the more rarely the longer the history is, so that weeks of waiting stay far from
// the limit of 51,200 events (a look costs six).
func nextLook(last time.Duration, changed bool, historyLength int) time.Duration {
	const soon, late = 5 * time.Second, 30 * time.Minute
	next := last * 2
	if changed || last == 0 {
		next = soon
	}
	switch {
	case historyLength > 15_000:
		return max(next, 4*time.Hour)
	case historyLength > 8_000:
		next = max(next, late)
	case historyLength > 4_000:
		next = max(next, 2*time.Minute)
	}
	return min(next, late)
}
