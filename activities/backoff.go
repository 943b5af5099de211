package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// backoff says when something that fails is tried again: after first, then after twice as long each time, and at most
// after most. A success ends it.
type backoff struct {
	first, most time.Duration

	pause time.Duration
	due   time.Time
}

// ended notes what an attempt has ended with.
func (b *backoff) ended(err error) {
	if err == nil {
		b.pause, b.due = 0, time.Time{}
		return
	}
	b.pause = min(max(b.first, 2*b.pause), b.most)
	b.due = time.Now().Add(b.pause)
}

// isDue reports whether it is time for the next attempt.
func (b *backoff) isDue() bool { return !time.Now().Before(b.due) }

// repeat does a part of the watch until ctx ends. Its failure ends nothing: it is shown, and the part is tried again
// after a pause of its own.
func (w *watch) repeat(ctx context.Context, of string, every time.Duration, do func() error) {
	again := backoff{first: every, most: max(every, marksEvery)}
	for ctx.Err() == nil {
		err := do()
		w.show(ctx, of, err)
		again.ended(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(every, again.pause)):
		}
	}
}

// show shows with the heartbeat what a part of the watch has failed with, or that it fails no longer.
func (w *watch) show(ctx context.Context, of string, err error) {
	switch {
	case ctx.Err() != nil: // the watch ends, which is no failure
	case err == nil:
		w.failing.set(of, "")
	default:
		w.failing.set(of, err.Error())
		activity.GetLogger(ctx).Warn("Part of the inventory watch has failed; it is tried again",
			"restore", w.restoreID, "part", of, "error", err)
	}
}
