package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

const (
	// pollTimeout bounds one query. It must leave time for a heartbeat.
	pollTimeout = 20 * time.Second
	// pollOverlap is how much older than the last poll a change may be and still be found by the next one. A
	// transaction's time is visible only when it commits, and Flight Control's servers have clocks of their own.
	pollOverlap = time.Minute
	// fullPollEvery is after how many polls one reads all devices, whenever they changed, and signals those again that
	// have not acted on their signal.
	fullPollEvery = 30
	// signallers is how many signals are sent at a time.
	signallers = 16
	// missesPerPoll is after how many signals without a workflow a poll ends. A fleet reports while its workflows are
	// still being started, and signals to missing workflows would slow the server down.
	missesPerPoll = 100
	// startAfter is for how long the signals to a device have found no workflow before it counts as missing. One that the
	// roll call has just come to is about to have one.
	startAfter = 5 * time.Second
)

// watch is one attempt at watching the inventory.
type watch struct {
	inventory *inventory.Store
	temporal  Signaller
	restoreID string
	progress  WatchProgress
	// signalled holds the signals sent since the last full poll, so that a device which is slow to act on one gets no
	// other.
	signalled map[inventory.PendingSignal]bool
	// absent holds the signals whose workflow was missing.
	absent map[inventory.PendingSignal]absence
	// missedSince says since when the signals to a device have found no workflow, and missed are the devices of this poll
	// whose workflow has been missing for startAfter.
	missedSince map[inventory.Device]time.Time
	missed      []inventory.Device
	polls       int
	// woken is WatchProgress.Woken, which another goroutine sets; failing is WatchProgress.Failing.
	woken   atomic.Bool
	failing failures
}

// absence says at which poll a signal to a missing workflow is sent again, and how many polls after the last attempt
// that is.
type absence struct{ at, after int }

// next is the absence of a workflow that is missing at this poll too: its signal is sent again after twice as many
// polls.
func (a absence) next(poll int) absence {
	after := min(max(1, 2*a.after), fullPollEvery)
	return absence{at: poll + after, after: after}
}

func newWatch(a *Activities, restoreID string) *watch {
	return &watch{
		inventory: a.Inventory, temporal: a.Temporal, restoreID: restoreID,
		signalled: map[inventory.PendingSignal]bool{}, absent: map[inventory.PendingSignal]absence{},
		missedSince: map[inventory.Device]time.Time{},
	}
}

// poll reads the inventory once and sends the pending signals. The progress moves on only when each was sent. running
// reports whether there is anything left to watch.
func (w *watch) poll(ctx context.Context) (running bool, err error) {
	in := inventory.PendingSignalsInput{RestoreID: w.restoreID}
	if !w.progress.Until.IsZero() {
		in.Since = w.progress.Until.Add(-pollOverlap)
	}
	if w.polls++; w.polls%fullPollEvery == 0 {
		in.Since, in.Claimed = time.Time{}, true
		clear(w.signalled)
		clear(w.absent)
	}
	seen, err := w.pendingSignals(ctx, in)
	if err != nil || !seen.Running {
		return false, err
	}
	w.missed = nil
	called, err := w.callFirst(ctx, seen.Devices)
	everybody, failed := w.signalAll(ctx, called)
	if err := errors.Join(err, failed); err != nil {
		return false, err
	}
	if everybody {
		w.progress.Until = seen.At
	}
	w.beat(ctx)
	return true, nil
}

// callFirst has those called first that were moved before the roll call has come to them, and returns the others. A
// workflow that starts for one of them looks by itself where it stands.
func (w *watch) callFirst(
	ctx context.Context, devices []inventory.PendingSignal,
) (called []inventory.PendingSignal, err error) {
	var moved []inventory.PendingSignal
	for _, device := range devices {
		switch {
		case !device.Uncalled || device.Signal != runbook.SignalLook:
			called = append(called, device)
		case !w.signalled[device]:
			moved = append(moved, device)
		}
	}
	if len(moved) == 0 {
		return called, nil
	}
	if err := w.inventory.CallFirst(ctx, w.restoreID, moved); err != nil {
		return called, err
	}
	for _, device := range moved {
		w.signalled[device] = true
	}
	return called, nil
}

func (w *watch) pendingSignals(
	ctx context.Context, in inventory.PendingSignalsInput,
) (inventory.PendingSignals, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return w.inventory.PendingSignals(ctx, in)
}

// signalAll sends the signals that were not sent before, several at a time, until too many workflows are missing or
// signals fail. One that fails does not keep the others from theirs, and is sent again at the next poll. everybody
// reports whether each device has its signal.
func (w *watch) signalAll(ctx context.Context, devices []inventory.PendingSignal) (everybody bool, err error) {
	var (
		mu      sync.Mutex
		tried   = attempts{of: "signals"}
		wait    sync.WaitGroup
		missing int
		left    bool
		slots   = make(chan struct{}, signallers)
	)
	for _, device := range devices {
		slots <- struct{}{}
		mu.Lock()
		stop, told, later := tried.failed >= tooManyFailures || ctx.Err() != nil || missing >= missesPerPoll,
			w.signalled[device], w.absent[device].at > w.polls
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
			tried.add(ctx, w, device.Name, err)
			switch {
			case err != nil:
			case there:
				w.signalled[device] = true
				delete(w.absent, device)
				delete(w.missedSince, inventory.Device{OrgID: device.OrgID, Name: device.Name})
			default:
				missing++
				w.absent[device] = w.absent[device].next(w.polls)
				w.miss(inventory.Device{OrgID: device.OrgID, Name: device.Name})
			}
		})
	}
	wait.Wait()
	return missing+tried.failed == 0 && !left, errors.Join(tried.end(w), ctx.Err())
}

// miss notes that a signal to a device has found no workflow.
func (w *watch) miss(d inventory.Device) {
	since, before := w.missedSince[d]
	switch {
	case !before:
		w.missedSince[d] = time.Now()
	case time.Since(since) >= startAfter:
		w.missed = append(w.missed, d)
	}
}

// signal sends a device's workflow its signal, and shows that the watch lives.
func (w *watch) signal(ctx context.Context, s inventory.PendingSignal) (there bool, err error) {
	there, err = w.send(ctx, s)
	w.beat(ctx)
	return there, err
}

// send sends a device's workflow its signal; there is false where none runs, because it is only about to be started.
func (w *watch) send(ctx context.Context, s inventory.PendingSignal) (there bool, err error) {
	var payload any = runbook.LookSignal{}
	if s.Signal == runbook.SignalReconnect {
		payload = runbook.ReconnectSignal{RenderedVersion: s.Version, Agent: true} // the gateway has noted it
	}
	err = w.temporal.SignalWorkflow(ctx, runbook.DeviceWorkflowID(s.OrgID, s.Name), "", s.Signal, payload)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("signal %s to device %s: %w", s.Signal, s.Name, err)
	}
	return true, nil
}

// look tells a workflow to follow the database. A workflow that has ended needs no signal.
func (w *watch) look(ctx context.Context, id string) error {
	err := w.temporal.SignalWorkflow(ctx, id, "", runbook.SignalLook, runbook.LookSignal{})
	if err == nil || isNotFound(err) {
		return nil
	}
	return fmt.Errorf("signal %s to %s: %w", runbook.SignalLook, id, err)
}
