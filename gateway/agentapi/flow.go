package agentapi

import (
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// answerPatience is how long a report counts as under way that nobody has been seen to answer: a worker may be away, and
	// the report waits in Temporal.
	answerPatience = 30 * time.Second
	// firstRate is how many agents a second are asked to come again before it is known how many can be answered. To turn one
	// away once more costs little; what it was told cannot be taken back, so that too long a wait is waited to its end.
	firstRate = 200
	// slowestRate keeps agents coming back where little is answered, because nothing can be, or the roll call is still
	// starting: a fleet that asked as often as it might would take the time that the answers need.
	slowestRate = 20
	// longestTurn is the latest that an agent is told to come back: who has been turned away for longer than shortestTurn waits
	// no longer than that again, so that what was told in a bad moment at most doubles the wait.
	shortestTurn, longestTurn = 5 * time.Minute, 15 * time.Minute
	// rateWindow is over what time the rate is reckoned.
	rateWindow = 5 * time.Second
)

// flow keeps a fleet that comes back at once from pushing the control plane over. So many reports may be under way: sent
// to the roll call, and not yet seen to be answered. Whoever comes past that is told when to come again, one after the
// other, at twice the rate at which reports are answered, so that there is always somebody for a place that gets free. While
// they wait no more are let in than that, told or not: agents whose workflows are not there yet would take the server's time
// from starting these. It holds nothing that a report would be lost with.
type flow struct {
	limit int

	mu sync.Mutex
	// until is when a report that is under way is not waited for any more, by device.
	until map[string]time.Time
	// turn is when the next agent that is turned away may come again, and since is when agents began to wait for their turn.
	turn, since time.Time
	// perSecond is how many agents are asked to come again; counted is how many reports were answered since began, missed how
	// many could not be sent or who else had no answer, and full that agents were turned away meanwhile.
	perSecond       float64
	counted, missed int
	full            bool
	began           time.Time
	// gate lets no more agents in than are asked to come.
	gate *rate.Limiter
}

func newFlow(limit int) *flow {
	return &flow{
		limit: limit, until: map[string]time.Time{}, perSecond: firstRate,
		gate: rate.NewLimiter(firstRate, firstRate*int(rateWindow.Seconds())),
	}
}

// enter takes a place for the report of a device, which it keeps until the report is answered; a device that has a place
// keeps that one. It is false where all are taken.
func (f *flow) enter(name string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reckon(now) // a window that is over ends before anything of now counts in it
	if until, has := f.until[name]; has && now.Before(until) {
		return true // however often it is said again
	}
	if len(f.until) >= f.limit {
		f.expire(now)
	}
	if len(f.until) >= f.limit || f.turn.After(now) && !f.admits(now) {
		f.full = true
		return false
	}
	f.until[name] = now.Add(answerPatience)
	return true
}

// admits lets as many in as are asked to come, early or late by a window.
func (f *flow) admits(now time.Time) bool {
	f.gate.SetLimitAt(now, rate.Limit(f.perSecond))
	f.gate.SetBurstAt(now, int(f.perSecond*rateWindow.Seconds()))
	return f.gate.AllowN(now, 1)
}

// expire gives the places of reports away that nobody was seen to answer.
func (f *flow) expire(now time.Time) {
	for name, until := range f.until {
		if !now.Before(until) {
			delete(f.until, name)
		}
	}
}

// failed says that a report could not be sent. It keeps its place for a moment, so that what cannot be reached is not asked
// by the whole fleet.
func (f *flow) failed(name string, again time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until[name] = again
	f.missed++
}

// unanswered says that somebody came whom the database had no answer for.
func (f *flow) unanswered(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reckon(now)
	f.missed++
}

// answered says that something came of a device's report.
func (f *flow) answered(name string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ours := f.until[name]; !ours {
		return
	}
	delete(f.until, name)
	f.reckon(now)
	f.counted++
}

// reckon begins a new window where the last one is over. Only one in which places were wanting, or in which most of those who
// had waited for their turn came in vain, says how much can be answered; one in which none was, though agents had been told
// when to come, says that they were told too late.
func (f *flow) reckon(now time.Time) {
	if f.began.IsZero() {
		f.began = now
	}
	over := now.Sub(f.began)
	if over < rateWindow {
		return
	}
	f.expire(now)
	waiting := f.turn.After(now)
	switch {
	case f.full, waiting && f.missed > f.counted:
		f.perSecond = max(slowestRate, (f.perSecond+2*float64(f.counted)/over.Seconds())/2)
	case waiting && len(f.until) < f.limit/2:
		f.perSecond, f.turn = 2*f.perSecond, now
	case !waiting:
		f.perSecond = max(f.perSecond, firstRate)
	}
	f.began, f.counted, f.missed, f.full = now, 0, 0, false
}

// comeAgain is when the next agent that is turned away may come again: not before least, and after those who were turned
// away before it.
func (f *flow) comeAgain(now time.Time, least time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reckon(now)
	if f.turn.Before(now) {
		f.turn, f.since = now, now
	}
	f.turn = f.turn.Add(time.Duration(float64(time.Second) / f.perSecond))
	wait, latest := f.turn.Sub(now), min(longestTurn, max(shortestTurn, now.Sub(f.since)))
	if wait > latest {
		// More than can be told one after the other: they are spread over the later half.
		f.turn = now.Add(latest)
		wait = latest/2 + rand.N(latest/2)
	}
	return max(least, wait)
}

// rateAt is how many agents a second are asked to come.
func (f *flow) rateAt(now time.Time) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reckon(now)
	return f.perSecond
}

// underWay is how many reports are.
func (f *flow) underWay() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(time.Now())
	return len(f.until)
}
