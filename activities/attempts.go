package activities

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.temporal.io/sdk/activity"
)

// tooManyFailures is how many devices fail at least in a round that is a failure itself.
const tooManyFailures = 50

// attempts counts what a round of the watch has done for single devices. One that fails does not keep the others from
// their turn, and is tried again in the next round. Where very many fail and none does not, something else is wrong.
type attempts struct {
	// of names what is tried. What has failed of it is shown until a round of the same in which nothing fails.
	of string
	// failed and done count devices, and last is what failed last.
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
	w.failing.set(t.of, fmt.Sprintf("device %s: %v", device, err))
	activity.GetLogger(ctx).Warn("Nothing could be done for a device; it is tried again",
		"restore", w.restoreID, "device", device, "error", err)
}

// end ends a round, and returns the error of one that is a failure itself.
func (t *attempts) end(w *watch) error {
	if t.failed == 0 {
		w.failing.set(t.of, "")
	}
	if t.failed < tooManyFailures || t.done > 0 {
		return nil
	}
	return fmt.Errorf("all of %d devices failed, the last with: %w", t.failed, t.last)
}

// failures are what has failed last of each thing that the watch does.
type failures struct {
	mu   sync.Mutex
	said map[string]string
}

// set notes what has failed of a thing; empty is nothing.
func (f *failures) set(of, said string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.said == nil {
		f.said = map[string]string{}
	}
	f.said[of] = said
	if said == "" {
		delete(f.said, of)
	}
}

func (f *failures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, of := range slices.Sorted(maps.Keys(f.said)) {
		all = append(all, of+": "+f.said[of])
	}
	return strings.Join(all, "; ")
}
