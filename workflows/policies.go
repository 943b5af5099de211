package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// transitionDeadline bounds one attempt at a transition. A write of a run that has ended is committed within this
// time, so a read after twice as long sees all that the run has written. A network that fails at that moment can delay
// a write further. Such a write compares before it sets, as every write does, and a workflow that has read before it
// follows the database at its next write or its next look signal.
const transitionDeadline = 2 * time.Second

// chunkDeadline bounds one attempt at what reads or writes thousands of rows.
const chunkDeadline = 2 * time.Minute

// withFewRetries is for a write of a few milliseconds that nearly always succeeds. A local activity costs one event
// instead of six. Its three attempts fit into a workflow task. What fails longer is run with withEndlessRetries.
func withFewRetries(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    transitionDeadline,
		ScheduleToCloseTimeout: 2 * transitionDeadline,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    50 * time.Millisecond,
			BackoffCoefficient: 2,
			MaximumAttempts:    3,
		},
		Summary: runbook.Storable(summary),
	})
}

// withEndlessRetries is for what must happen however long the database is away. It is retried without end, at most a
// minute apart. The web UI shows it as a pending activity with its last failure. deadline bounds one attempt.
func withEndlessRetries(ctx workflow.Context, summary string, deadline time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: deadline,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
		},
		Summary: runbook.Storable(summary),
	})
}

// The inventory watch sends a heartbeat at least every heartbeatTimeout, or another worker takes it over. After
// watchTurn it is handed over in any case, which costs no event.
const (
	heartbeatTimeout = 30 * time.Second
	watchTurn        = 24 * time.Hour
)

// withWatchOptions is for the inventory watch, which runs as long as its restore: after each attempt there is another
// one. A cancellation does not wait for it, because it does nothing for a restore that has ended.
func withWatchOptions(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: watchTurn,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    10 * time.Second,
		},
		Summary: runbook.Storable(summary),
	})
}

// predecessorTimeout bounds how long a restore waits until the restore that it supersedes has ended its workflows.
// After that it starts its own, and retries the start of a device whose workflow id is still taken.
const predecessorTimeout = time.Minute

// A child that ended without an outcome (it was terminated in the web UI, or its id was taken) is started again after
// firstRestart, when none of its writes can follow. Each further restart waits twice as long, up to lastRestart. After
// backoffResetAfter without an interruption the wait is firstRestart again.
const (
	firstRestart      = 2 * transitionDeadline
	backoffResetAfter = time.Hour
	lastRestart       = 5 * time.Minute
)

// nextPoll returns how long a restore waits before it reads its tally again for the current details. It is short while
// the tally changes, longer while it does not, and longer still for a long history: a read costs six events, and weeks
// of waiting must stay far from the limit of 51,200.
func nextPoll(last time.Duration, changed bool, historyLength int) time.Duration {
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

// A plan first reads firstPlanPoll after it has asked a wave whether the devices have applied the decision, and then
// at most lastPlanPoll apart. Where only the wave's time is left it reads at most lastSoakPoll apart whether a device
// has failed since. While it is held it reads whether its restore still runs, at most lastHeldPoll apart. After a human
// has told it to retry failed devices, these have retryGrace to recover.
const (
	firstPlanPoll = 2 * time.Second
	lastPlanPoll  = 30 * time.Second
	lastSoakPoll  = 30 * time.Minute
	lastHeldPoll  = 30 * time.Minute
	retryGrace    = time.Minute
)

// planWait paces what a plan reads while it waits, so that its history stays below the limit of 51,200 events however
// long that is. A read costs eleven events. Each wave has its share of what the waves before it have left. A plan of
// many waves goes through them at full pace where none of them has to wait for long, and has a fresh history before the
// last of them.
type planWait struct {
	// from is how long the history was when the wait began, and share is how many more events it may have.
	from, share int
	last        time.Duration
}

const (
	// planEvents is how long the history of a plan may grow at its usual pace.
	planEvents = 45_000
	// wavesInHistory is how many waves share a history at most that all wait for long: between two waves the plan goes on
	// in a fresh one.
	wavesInHistory = 10
	// leastShare is what each wait may have.
	leastShare = 100
)

// newPlanWait begins a wait; wavesAfter is how many waves come after the one that is under way.
func newPlanWait(historyLength, wavesAfter int) *planWait {
	waves := min(wavesAfter+1, wavesInHistory)
	return &planWait{from: historyLength, share: max((planEvents-historyLength)/waves, leastShare)}
}

// next returns how long the plan waits before its next read: twice as long as the last time, up to longest, and longer
// than that where more than half of the wait's share is used up.
func (w *planWait) next(longest time.Duration, historyLength int) time.Duration {
	w.last = min(max(2*w.last, firstPlanPoll), longest)
	switch used := historyLength - w.from; {
	case used > w.share/10*9:
		return max(w.last, 4*time.Hour)
	case used > w.share/4*3:
		return max(w.last, 30*time.Minute)
	case used > w.share/2:
		return max(w.last, 2*time.Minute)
	}
	return w.last
}

// withAskOptions is for asking the devices of a wave, which takes as long as they need to answer. A cancellation waits
// for it, so that no device is asked after its plan has ended.
func withAskOptions(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: watchTurn,
		HeartbeatTimeout:    heartbeatTimeout,
		WaitForCancellation: true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    10 * time.Second,
		},
		Summary: runbook.Storable(summary),
	})
}
