package inventory

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// statementsAtOnce is how many statements of a together run at a time. More of them are not quicker: they wait for the
// same pages and the same disk.
const statementsAtOnce = 2

// sharedStatementMargin is the least time left that a change needs to share a statement with others. A statement ends
// at the first deadline of its changes, so a change with less time would fail the others. Where statements take long
// it is a quarter more than what the last one took: with much more, those that have waited for one or two are passed
// over until they are late.
const sharedStatementMargin = 250 * time.Millisecond

// together carries out changes that arrive at the same time with few statements. A change that comes while a statement
// may begin is not kept waiting: it begins one. Those that come while none may are carried out by the next, together.
type together struct {
	// all carries out changes of different devices, and says for each when, or the zero time where it has not.
	all func(context.Context, []change) ([]time.Time, error)

	mu      sync.Mutex
	waiting []*asked
	running int
	took    time.Duration // the last statement, or the longest that was cut off since
}

// asked is a change with who waits for it.
type asked struct {
	change
	ctx    context.Context
	answer chan answer // holds one, so that no one waits for who has gone
}

type answer struct {
	at  time.Time
	ok  bool
	err error
}

// do carries out c and says when; ok is false where nothing was written. When ctx ends, c may or may not have been
// carried out; after its deadline no statement is sent for it, and one that runs is told to end. (PostgreSQL hears of
// that over another connection. Where the network fails at that moment, what was sent before may still be carried
// out.)
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
		t.carryOut(next)
	}
}

// next takes the next changes, of different devices: the oldest that are in no hurry. Where all are, as after the
// database has stood still, those with the most time left, as the oldest are lost in any case. None ends the run.
func (t *together) next() []*asked {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, needs := time.Now(), max(sharedStatementMargin, t.took*5/4)
	t.waiting = slices.DeleteFunc(t.waiting, func(a *asked) bool { return a.hasGone(now) })
	next := t.take(func(a *asked) bool { return a.timeLeft(now) >= needs })
	if len(next) == 0 {
		slices.Reverse(t.waiting)
		next = t.take(func(*asked) bool { return true })
		slices.Reverse(t.waiting)
	}
	if len(next) == 0 {
		t.running--
	}
	return next
}

// take takes the first changes of those that may be, as many as a statement carries out, of different devices.
func (t *together) take(may func(*asked) bool) []*asked {
	var next, left []*asked
	type device struct{ orgID, name string }
	taken := map[device]bool{}
	for _, a := range t.waiting {
		if d := (device{a.OrgID, a.Name}); len(next) < maxChanges && !taken[d] && may(a) {
			taken[d] = true
			next = append(next, a)
			continue
		}
		left = append(left, a)
	}
	t.waiting = left
	return next
}

// first puts changes before all that wait.
func (t *together) first(some []*asked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(some, t.waiting...)
}

// carryOut carries out some changes and answers those who wait. Where several fail together each is tried by itself,
// so that what is wrong with one is that one's alone; where they were only given up, who still waits is carried out
// with the next.
func (t *together) carryOut(some []*asked) {
	ctx, done := while(some)
	defer done()
	begun := time.Now()
	at, err := t.statement(ctx, some)
	t.learn(time.Since(begun), ctx.Err() != nil)
	switch {
	case err == nil || len(some) == 1:
		for i, a := range some {
			if err != nil {
				a.answer <- answer{err: err}
				continue
			}
			a.answer <- answer{at: at[i], ok: !at[i].IsZero()}
		}
	case ctx.Err() != nil:
		t.first(some)
	default:
		for _, a := range some {
			if !a.hasGone(time.Now()) {
				t.carryOut([]*asked{a})
			}
		}
	}
}

// learn notes how long a statement took; one that was cut off would have taken longer.
func (t *together) learn(took time.Duration, cutOff bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if cutOff {
		took = max(took, t.took)
	}
	t.took = took
}

// statement is all for some changes. When ctx ends it does not wait for the driver, which may go on reading from a
// server that is no longer there.
func (t *together) statement(ctx context.Context, some []*asked) ([]time.Time, error) {
	changes := make([]change, len(some))
	for i, a := range some {
		changes[i] = a.change
	}
	type outcome struct {
		at  []time.Time
		err error
	}
	ended := make(chan outcome, 1)
	go func() {
		at, err := t.all(ctx, changes)
		ended <- outcome{at, err}
	}()
	select {
	case o := <-ended:
		return o.at, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hasGone reports whether no one waits for the change any more. Its deadline counts from its moment on, though its
// context may hear of it a little later.
func (a *asked) hasGone(now time.Time) bool {
	return a.ctx.Err() != nil || a.timeLeft(now) <= 0
}

func (a *asked) timeLeft(now time.Time) time.Duration {
	if deadline, ok := a.ctx.Deadline(); ok {
		return deadline.Sub(now)
	}
	return math.MaxInt64
}

// while is a context that lasts as long as anyone waits, and ends at the first deadline of any: nothing is written for
// anyone after that.
func while(some []*asked) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(some[0].ctx))
	var gone atomic.Int64
	ends := []func(){cancel}
	for _, a := range some {
		stop := context.AfterFunc(a.ctx, func() {
			if gone.Add(1) == int64(len(some)) {
				cancel()
			}
		})
		ends = append(ends, func() { stop() })
		if deadline, ok := a.ctx.Deadline(); ok {
			var end context.CancelFunc
			ctx, end = context.WithDeadline(ctx, deadline)
			ends = append(ends, end)
		}
	}
	return ctx, func() {
		for _, end := range ends {
			end()
		}
	}
}
