package activities

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/activity"
)

// tooManyFailures is how many devices fail at least in a round that is a failure itself.
const tooManyFailures = 50

// attempts counts what a round of the watch has done for single devices. One that fails does not keep the others from
// their turn, and is tried again in the next round. Where very many fail and none does not, something else is wrong.
type attempts struct {
	failed, done int
	last         error
}

// add counts what was tried for a device. What has failed last is shown with the heartbeat.
func (t *attempts) add(ctx context.Context, w *watch, device string, err error) {
	if err == nil {
		t.done++
		return
	}
	t.failed, t.last = t.failed+1, err
	if ctx.Err() != nil {
		return
	}
	said := fmt.Sprintf("device %s: %v", device, err)
	w.failing.Store(&said)
	activity.GetLogger(ctx).Warn("Nothing could be done for a device; it is tried again",
		"restore", w.restoreID, "device", device, "error", err)
}

// failure is the error of a round that is a failure itself.
func (t *attempts) failure() error {
	if t.failed < tooManyFailures || t.done > 0 {
		return nil
	}
	return fmt.Errorf("all of %d devices failed, the last with: %w", t.failed, t.last)
}
