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
	// missesPerLook is after how many signals for which no workflow was there a look is over. A fleet reports while its workflows
	// are still being started, and signals to those that are not there yet would take the server's time from that.
	missesPerLook = 100
)

// watch is one attempt at watching the inventory.
type watch struct {
	inventory *inventory.Store
	temporal  Signaller
	restoreID string
	progress  WatchProgress
	// told is who was sent what since the last full look, so that a device which is slow to act on a signal gets no other.
	told map[inventory.Sighting]bool
	// absent is whose workflow was not there.
	absent map[inventory.Sighting]absence
	looks  int
}

// absence is at which look a workflow that was not there is tried again, and after how many looks that will have been.
type absence struct{ at, after int }

// next is the absence of a workflow that is not there at this look either: it is tried after twice as many looks.
func (a absence) next(look int) absence {
	after := min(max(1, 2*a.after), fullLook)
	return absence{at: look + after, after: after}
}

func newWatch(a *Activities, restoreID string) *watch {
	return &watch{
		inventory: a.Inventory, temporal: a.Temporal, restoreID: restoreID,
		told: map[inventory.Sighting]bool{}, absent: map[inventory.Sighting]absence{},
	}
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
		clear(w.absent)
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

// tell signals the workflows of those who were not told before, several at a time, until too many are not there; everybody
// tells whether each has its signal.
func (w *watch) tell(ctx context.Context, devices []inventory.Sighting) (everybody bool, err error) {
	var (
		mu      sync.Mutex
		failed  error
		wait    sync.WaitGroup
		missing int
		left    bool
		slots   = make(chan struct{}, signallers)
	)
	for _, device := range devices {
		slots <- struct{}{}
		mu.Lock()
		stop, told, later := failed != nil || ctx.Err() != nil || missing >= missesPerLook, w.told[device], w.absent[device].at > w.looks
		mu.Unlock()
		if stop || told || later {
			<-slots
			left = left || !told
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
				delete(w.absent, device)
			default:
				missing++
				w.absent[device] = w.absent[device].next(w.looks)
			}
		})
	}
	wait.Wait()
	return missing == 0 && !left, errors.Join(failed, ctx.Err())
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
