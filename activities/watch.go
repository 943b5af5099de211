package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
)

// WatchInput says which restore to watch the inventory for, and how often to look.
type WatchInput struct {
	RestoreID string        `json:"restoreId"`
	Every     time.Duration `json:"every"`
}

// WatchProgress is what the watch's heartbeats carry, so that another worker can go on with it.
type WatchProgress struct {
	// Until is up to when every change has been told, on the database's clock; zero if nothing was looked at yet.
	Until time.Time `json:"until"`
	// Woken reports whether the held polls of all devices that wait were ended, which is done once.
	Woken bool `json:"woken,omitempty"`
	// Failing is what failed last of each thing that the watch does beside its polls, or for a single device; empty where
	// nothing fails. It is shown to people.
	Failing string `json:"failing,omitempty"`
}

// watchBeat is how often the watch says that it lives while it has nothing to do.
const watchBeat = 5 * time.Second

// errWorkerStops ends an attempt at once when its worker is stopped, and has the next worker go on.
var errWorkerStops = errors.New("the worker stops; another one goes on watching")

// WatchInventory sees in the database what a live Flight Control, whose own API server answers the agents, makes of
// the devices that a restore waits for, and signals their workflows. It runs until it is cancelled or the restore no
// longer is the current one. A failure of the database or of Temporal ends the attempt, to be seen in the web UI; the
// next attempt goes on from the heartbeat. What fails for a single device, or at Flight Control, ends nothing: it is
// logged, shown with the heartbeat, and tried again.
func (a *Activities) WatchInventory(ctx context.Context, in WatchInput) error {
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return err
	}
	w := newWatch(a, in.RestoreID)
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &w.progress); err != nil {
			activity.GetLogger(ctx).Warn("Heartbeat of the attempt before cannot be read; everybody is looked at again",
				"error", err)
		}
	}
	w.woken.Store(w.progress.Woken)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if a.Flightctl != nil {
		go w.maintainMarks(ctx, a, in.Every)
		go w.carryOutDecisions(ctx, a, in.Every)
	}
	go w.followEnrollments(ctx, a, in.Every)
	every := min(reconcileEvery, 5*in.Every)
	go w.nameLosses(ctx, a, every)
	mending := reconciler{watch: w, workflows: a.Workflows, every: every}
	for {
		running, err := w.poll(ctx)
		if err == nil && running {
			mending.startMissed(ctx)
			mending.runIfDue(ctx)
			err = w.pause(ctx, in.Every)
		}
		if ctx.Err() != nil {
			return asActivityError(context.Cause(ctx))
		}
		if err != nil || !running {
			return asActivityError(err)
		}
	}
}

// beat shows that the watch lives, and how far it has come.
func (w *watch) beat(ctx context.Context) {
	progress := w.progress
	progress.Woken = w.woken.Load()
	progress.Failing = w.failing.String()
	activity.RecordHeartbeat(ctx, progress)
}

// pause waits for the next look, and meanwhile shows that the watch lives. The error ends the watch.
func (w *watch) pause(ctx context.Context, every time.Duration) error {
	next, beat := time.NewTimer(every), time.NewTicker(watchBeat)
	defer next.Stop()
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-activity.GetWorkerStopChannel(ctx):
			return errWorkerStops
		case <-beat.C:
			w.beat(ctx)
		case <-next.C:
			return nil
		}
	}
}
