package inventory

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// statementsAtOnce is how many statements of a together run at a time. More of them are not quicker: they wait for the same
// pages and the same disk.
const statementsAtOnce = 2

// together carries out changes that arrive at the same time with few statements. A change that comes while a statement may
// begin is not kept waiting: it begins one. Those that come while none may are carried out by the next, together.
type together struct {
	// all carries out changes of different devices, and says when for those that it has.
	all func(context.Context, []change) (map[target]time.Time, error)

	mu      sync.Mutex
	waiting []*asked
	running int
}

// asked is a change with who waits for it.
type asked struct {
	change
	ctx    context.Context
	answer chan answer // holds one, so that nobody waits for who has gone
}

type answer struct {
	at  time.Time
	ok  bool
	err error
}

// do carries out c and says when; ok is false where nothing was written. When ctx ends, c may or may not have been carried out.
func (t *together) do(ctx context.Context, c change) (at time.Time, ok bool, err error) {
	a := &asked{change: c, ctx: ctx, answer: make(chan answer, 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, a)
	if t.running < statementsAtOnce {
		t.running++
		go t.run()
	}
	t.mu.Unlock()
	select {
	case done := <-a.answer:
		return done.at, done.ok, done.err
	case <-ctx.Done():
		return time.Time{}, false, ctx.Err()
	}
}

// run carries out what is waiting until nothing is.
func (t *together) run() {
	for next := t.next(); len(next) > 0; next = t.next() {
		if !t.carryOut(next) {
			for _, a := range next { // so that what is wrong with one is that one's alone
				t.carryOut([]*asked{a})
			}
		}
	}
}

// next takes the next changes, of different devices; none ends the run.
func (t *together) next() []*asked {
	t.mu.Lock()
	defer t.mu.Unlock()
	var next, left []*asked
	devices := map[target]bool{}
	for _, a := range t.waiting {
		switch {
		case a.ctx.Err() != nil: // whoever asked has gone
		case len(next) == maxChanges || devices[a.target()]:
			left = append(left, a)
		default:
			devices[a.target()] = true
			next = append(next, a)
		}
	}
	t.waiting = left
	if len(next) == 0 {
		t.running--
	}
	return next
}

// carryOut carries out some changes and answers those who wait. It returns false, and has answered nobody, where several
// failed together.
func (t *together) carryOut(some []*asked) bool {
	ctx, done := whileAny(some)
	defer done()
	changes := make([]change, len(some))
	for i, a := range some {
		changes[i] = a.change
	}
	carried, err := t.all(ctx, changes)
	if err != nil && len(some) > 1 {
		return false
	}
	for _, a := range some {
		at, ok := carried[a.target()]
		a.answer <- answer{at, ok, err}
	}
	return true
}

// whileAny is a context that lasts as long as anybody waits.
func whileAny(some []*asked) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(some[0].ctx))
	var gone atomic.Int64
	var stops []func() bool
	for _, a := range some {
		stops = append(stops, context.AfterFunc(a.ctx, func() {
			if gone.Add(1) == int64(len(some)) {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
