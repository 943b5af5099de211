package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"

	"rollcall/inventory"
	"rollcall/runbook"
)

const (
	// lookTimeout bounds one query; it must leave time for a heartbeat.
	lookTimeout = 20 * time.Second
	// lookBack is how much older than the last look a change may be and still be found by the next: a transaction shows its
	// time only when it commits, and Flight Control's servers have clocks of their own.
	lookBack = time.Minute
	// fullLook is after how many looks everybody is looked at whenever they changed, and who was told and has done nothing
	// since is told again.
	fullLook = 30
	// signallers is how many signals are under way at a time.
	signallers = 16
)

// watch is one attempt at watching the inventory.
type watch struct {
	inventory *inventory.Store
	temporal  Signaller
	restoreID string
	progress  WatchProgress
	// told is who was sent what since the last full look, so that a device which is slow to act on a signal gets no other.
	told  map[inventory.Sighting]bool
	looks int
}

func newWatch(a *Activities, restoreID string) *watch {
	return &watch{inventory: a.Inventory, temporal: a.Temporal, restoreID: restoreID, told: map[inventory.Sighting]bool{}}
}

// look looks once and tells whom it must. Only when everybody was told does the progress move on. running tells whether
// there is anything left to watch.
func (w *watch) look(ctx context.Context) (running bool, err error) {
	in := inventory.SightingsInput{RestoreID: w.restoreID}
	if !w.progress.Until.IsZero() {
		in.Since = w.progress.Until.Add(-lookBack)
	}
	if w.looks++; w.looks%fullLook == 0 {
		in.Since = time.Time{}
		clear(w.told)
	}
	seen, err := w.sightings(ctx, in)
	if err != nil || !seen.Running {
		return false, err
	}
	everybody, err := w.tell(ctx, seen.Devices)
	if err != nil {
		return false, err
	}
	if everybody {
		w.progress.Until = seen.At
	}
	activity.RecordHeartbeat(ctx, w.progress)
	return true, nil
}

func (w *watch) sightings(ctx context.Context, in inventory.SightingsInput) (inventory.Sightings, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return w.inventory.Sightings(ctx, in)
}

// tell signals the workflows of those who were not told before, several at a time; everybody tells whether each has it.
func (w *watch) tell(ctx context.Context, devices []inventory.Sighting) (everybody bool, err error) {
	var (
		mu      sync.Mutex
		failed  error
		wait    sync.WaitGroup
		missing int
		slots   = make(chan struct{}, signallers)
	)
	for _, device := range devices {
		slots <- struct{}{}
		mu.Lock()
		stop, known := failed != nil || ctx.Err() != nil, w.told[device]
		mu.Unlock()
		if stop || known {
			<-slots
			if stop {
				break
			}
			continue
		}
		wait.Go(func() {
			defer func() { <-slots }()
			there, err := w.signal(ctx, device)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = err
			case there:
				w.told[device] = true
			default:
				missing++
			}
		})
	}
	wait.Wait()
	return missing == 0, errors.Join(failed, ctx.Err())
}

// signal sends a device's workflow its signal; there is false where none runs, because it is only about to be started.
func (w *watch) signal(ctx context.Context, s inventory.Sighting) (there bool, err error) {
	var payload any = runbook.LookSignal{}
	if s.Signal == runbook.SignalReconnect {
		payload = runbook.ReconnectSignal{RenderedVersion: s.Version}
	}
	err = w.temporal.SignalWorkflow(ctx, runbook.DeviceWorkflowID(s.OrgID, s.Name), "", s.Signal, payload)
	activity.RecordHeartbeat(ctx, w.progress)
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("signal %s to device %s: %w", s.Signal, s.Name, err)
	}
	return true, nil
}
