package agentapi

import (
	"context"
	"slices"
	"sync"
	"time"
)

// answerPatience is how long a report counts as under way that no one has been seen to answer: a worker may be away,
// and the report waits in Temporal.
const answerPatience = 30 * time.Second

// flow keeps a fleet that comes back at once from pushing Temporal over. So many reports may be under way: sent to the
// roll call, and not yet seen to be answered. The others wait for their turn, in the order in which they came. It holds
// nothing that a report would be lost with.
type flow struct {
	limit int

	mu sync.Mutex
	// until is when a report that is under way is not waited for any more, by device.
	until   map[string]time.Time
	waiting []*turn
}

// turn is a report that waits for a place; come is closed when it has one.
type turn struct {
	name string
	come chan struct{}
}

func newFlow(limit int) *flow { return &flow{limit: limit, until: map[string]time.Time{}} }

// enter takes a place for the report of a device, which it keeps until the report is answered, and waits for one as
// long as ctx lasts. A device that has a place keeps that one, however often it reports.
func (f *flow) enter(ctx context.Context, name string) error {
	t := f.join(name)
	if t == nil {
		return nil
	}
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
		f.leave(t)
		return ctx.Err()
	}
}

// join takes a place, or a turn where none is free.
func (f *flow) join(name string) *turn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, has := f.until[name]; has {
		return nil
	}
	if len(f.until) < f.limit {
		f.until[name] = time.Now().Add(answerPatience)
		return nil
	}
	t := &turn{name: name, come: make(chan struct{})}
	f.waiting = append(f.waiting, t)
	return t
}

// leave ends the wait of a turn. One that has just come gives its place to the next.
func (f *flow) leave(t *turn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.waiting, t); i >= 0 {
		f.waiting = slices.Delete(f.waiting, i, i+1)
		return
	}
	delete(f.until, t.name)
	f.admit()
}

// admit gives free places to those who wait.
func (f *flow) admit() {
	for len(f.waiting) > 0 && len(f.until) < f.limit {
		t := f.waiting[0]
		f.waiting[0], f.waiting = nil, f.waiting[1:]
		f.until[t.name] = time.Now().Add(answerPatience)
		close(t.come)
	}
}

// failed says that a report could not be sent. It keeps its place for a moment, so that what cannot be reached is not
// asked by the whole fleet.
func (f *flow) failed(name string, again time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until[name] = again
}

// answered says that something came of a device's report.
func (f *flow) answered(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.until, name)
	f.admit()
}

// expire gives the places of reports away that no one was seen to answer.
func (f *flow) expire(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, until := range f.until {
		if !now.Before(until) {
			delete(f.until, name)
		}
	}
	f.admit()
}

// underWay is how many reports are.
func (f *flow) underWay() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.until)
}
