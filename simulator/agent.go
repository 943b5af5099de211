package simulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// agent is one device's. It does one thing at a time, so that nothing in it needs a lock. Where Flight Control's agents
// poll, apply and put their status side by side, this one does them in turn.
type agent struct {
	fleet *Fleet
	plan  Plan
	// name is the device's as the service knows it; key is what it enrolls with, and http what shows its certificate, nil
	// while it has none.
	name string
	key  *ecdsa.PrivateKey
	http *http.Client
	// base is the device's status from before.
	base  json.RawMessage
	state State
	// since is when the plan's times begin, and next the first of its reports that was not made.
	since time.Time
	next  int

	// version is what it runs, and known what its polls name: the version that it was served last. pending is that
	// version where it does not run yet, and applyAt when it is tried again.
	version, known string
	pending        *pending
	applyAt        time.Time
	mood           mood
	// told is what the status said that was put last; nil is none, or one that is to be put again. sayAt is the
	// earliest time of the next, and sayTries how often one was tried in a row.
	told     *telling
	sayAt    time.Time
	sayTries int64
	// held and transition are of the condition in the status: its value, and since when it has it.
	held       string
	transition time.Time
	// pollAt is when the next poll may begin.
	pollAt time.Time
	// outageAt is when its connection will be lost; zero is never.
	outageAt time.Time
	// asked reports whether its request to be enrolled is with the service, looks how often it has looked since, and
	// askAt when it does the next step.
	asked bool
	looks int64
	askAt time.Time
	// renewal is the one under way; its zero value is none.
	renewal renewal
	// leaf is the certificate that http shows.
	leaf *x509.Certificate
	// heard reports whether the service has ever heard it, and unheard whether it has not heard yet what the agent
	// reports now. A poll that was sent is heard, also while it is held.
	heard, unheard atomic.Bool

	boots, outages, retries, pollFailures, wiped, conflicts, renewals int64
	// failedAt is the version at which it has failed so many times.
	failedAt    uint64
	failedTimes int
}

// live is the agent's life: it comes back, and then does what is due until the fleet ends or it is denied.
func (a *agent) live(ctx context.Context) {
	defer a.leave()
	if !a.comeBack(ctx) {
		return
	}
	for ctx.Err() == nil && a.state != StateDenied {
		if err := a.step(ctx); err != nil && ctx.Err() == nil {
			a.fleet.counts.fail(err)
			a.fleet.counts.retries.Add(1)
			a.retries++
		}
	}
}

func (a *agent) comeBack(ctx context.Context) bool {
	a.since = a.fleet.began
	if a.plan.Fate == Straggler {
		select {
		case <-ctx.Done():
			return false
		case <-a.fleet.called:
			a.since = time.Now()
		}
	}
	a.planOutage()
	if !sleep(ctx, time.Until(a.reportAt())) {
		return false
	}
	a.nextReport()
	return true
}

// leave ends the agent's connections.
func (a *agent) leave() {
	if a.http != nil {
		a.http.CloseIdleConnections()
	}
	if a.state != StateDenied {
		a.enter(StateEnded)
	}
}

// step does one thing.
func (a *agent) step(ctx context.Context) error {
	now := time.Now()
	if at := a.reportAt(); !at.IsZero() && !a.unheard.Load() && !now.Before(at) {
		a.nextReport()
	}
	switch {
	case a.http != nil && !a.outageAt.IsZero() && !now.Before(a.outageAt):
		a.loseConnection(ctx)
		return nil
	case a.http == nil:
		return a.enroll(ctx)
	case a.untold() && !now.Before(a.sayAt):
		a.enter(StateConnecting)
		return a.report(ctx)
	case !now.Before(a.renewAt()):
		return a.renew(ctx)
	case a.pending != nil && !now.Before(a.applyAt):
		a.apply(ctx)
		return nil
	}
	return a.poll(ctx)
}

// reportAt is when the next report of the plan is due; zero is never.
func (a *agent) reportAt() time.Time {
	if a.next >= len(a.plan.Reports) {
		return time.Time{}
	}
	return a.since.Add(a.fleet.paced(a.plan.Reports[a.next].AfterSeconds))
}

// nextReport makes the device run what the plan says, however that came about. A report that is the one before says
// again what it runs.
func (a *agent) nextReport() {
	version := a.plan.Reports[a.next].RenderedVersion
	if a.next == 0 || version != a.plan.Reports[a.next-1].RenderedVersion {
		a.version, a.known, a.pending = version, version, nil
	}
	a.mood = online
	if a.next == 0 && a.http != nil {
		// It has run through the restore, and has put this status before it.
		told := a.telling()
		a.told = &told
	}
	a.next++
	a.unheard.Store(true)
	a.pollAt, a.sayAt = time.Time{}, time.Time{}
	a.decide("reports", "version", a.version)
}

// interruption is when something else is due than a poll; zero is never.
func (a *agent) interruption() time.Time {
	at := earliest(a.outageAt, a.renewAt())
	if next := a.reportAt(); !a.unheard.Load() || time.Now().Before(next) {
		at = earliest(at, next)
	}
	if a.untold() {
		at = earliest(at, a.sayAt)
	}
	if a.pending != nil {
		at = earliest(at, a.applyAt)
	}
	return at
}

// planOutage draws when a flaky agent loses its connection next.
func (a *agent) planOutage() {
	if !a.plan.Flaky {
		return
	}
	a.outageAt = time.Now().Add(a.fleet.paced(a.fleet.cfg.Scenario.Flaky.EverySeconds.in(a.throw("outage", a.outages))))
}

func (a *agent) loseConnection(ctx context.Context) {
	away := a.fleet.cfg.Scenario.Flaky.AwaySeconds.in(a.throw("outage for", a.outages))
	a.outages++
	a.fleet.counts.outages.Add(1)
	a.decide("loses its connection", "seconds", away)
	a.away(ctx, StateDisconnected, away)
	a.planOutage()
}

// away is without a connection for a time of the scenario.
func (a *agent) away(ctx context.Context, state State, seconds float64) {
	a.enter(state)
	a.http.CloseIdleConnections()
	sleep(ctx, a.fleet.paced(seconds))
}

// call makes a request of the device; what is below its address.
func (a *agent) call(ctx context.Context, method, what string, body []byte) (answer, error) {
	return a.fleet.call(ctx, a.http, method, "/api/v1/devices/"+url.PathEscape(a.name)+what, body)
}

func (a *agent) enter(state State) {
	if state != a.state {
		a.fleet.counts.move(a.state, state)
		a.state = state
	}
}

// answered notes that the service has heard the agent.
func (a *agent) answered() {
	a.unheard.Store(false)
	if a.heard.CompareAndSwap(false, true) {
		a.fleet.counts.back.Add(1)
	}
}

// turnedAway takes back that the service has heard a poll, where it has heard nothing before.
func (a *agent) turnedAway(heard, unheard bool) {
	a.unheard.Store(unheard)
	if !heard && a.heard.CompareAndSwap(true, false) {
		a.fleet.counts.back.Add(-1)
	}
}

// decide logs what the agent does of itself, under the name that it has in the plan.
func (a *agent) decide(what string, args ...any) {
	a.fleet.cfg.Logger.Debug(what, append([]any{"device", a.plan.Name}, args...)...)
}

// sleep waits, and reports whether the agent may go on.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// earliest is the earlier of two moments; a zero one is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
