package simulator

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// agent is one device's. It does one thing at a time, so that nothing in it needs a lock.
type agent struct {
	fleet *Fleet
	plan  Plan
	// name is the device's as the service knows it; key is what it enrolls with, and http what shows its certificate, nil while
	// it has none.
	name string
	key  *ecdsa.PrivateKey
	http *http.Client
	// base is the device's status from before.
	base  json.RawMessage
	state State
	// since is when the plan's times begin, and next the first of its reports that was not made.
	since time.Time
	next  int

	// version is what it reports that it runs.
	version string
	mood    mood
	// unsaid tells that its status is to be reported; saidAt is when that was done last.
	unsaid bool
	saidAt time.Time
	// polledAt is when the last poll began, and notBefore when the next one may.
	polledAt, notBefore time.Time
	// outageAt is when its connection will be lost; zero is never.
	outageAt time.Time
	// asked tells that its request to be enrolled is with the service.
	asked bool
	// heard tells that it has had an answer.
	heard bool

	boots, outages, retries, failures, wiped int64
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
			a.endure(ctx, err)
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
	if at := a.reportAt(); !at.IsZero() && !a.unsaid && !now.Before(at) {
		a.nextReport()
	}
	switch {
	case a.http != nil && !a.outageAt.IsZero() && !now.Before(a.outageAt):
		a.loseConnection(ctx)
		return nil
	case a.http == nil:
		return a.enroll(ctx)
	case a.unsaid || now.Sub(a.saidAt) >= a.fleet.cfg.StatusEvery:
		a.enter(StateConnecting)
		return a.report(ctx)
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

// nextReport makes the device run what the plan says, however that came about. A report that is the one before says again
// what it runs.
func (a *agent) nextReport() {
	version := a.plan.Reports[a.next].RenderedVersion
	if a.next == 0 || version != a.plan.Reports[a.next-1].RenderedVersion {
		a.version = version
	}
	a.next++
	a.mood = online
	a.unsaid = true
	a.decide("reports", "version", a.version)
}

// interruption is when something else is due than what the agent does; zero is never.
func (a *agent) interruption() time.Time { return earliest(a.reportAt(), a.outageAt) }

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
	a.unsaid = true
}

// endure waits after a failure: as long as the service has said and a bit more, so that not all come at once; else ever
// longer, and no longer than until something else is due.
func (a *agent) endure(ctx context.Context, err error) {
	a.fleet.counts.fail(err)
	a.fleet.counts.retries.Add(1)
	d := a.throw("retry", a.retries)
	a.retries++
	var told *failure
	wait := backoff(a.failures, d.Float64())
	a.failures++
	if errors.As(err, &told) && told.after > 0 {
		wait = told.after + time.Duration(d.Float64()*float64(told.after)/2)
	} else if at := a.interruption(); !at.IsZero() && !a.unsaid && a.http != nil {
		wait = min(wait, time.Until(at))
	}
	a.enter(StateRetrying)
	sleep(ctx, wait)
}

// backoff doubles with each failure; chance takes up to half of it away.
func backoff(failures int64, chance float64) time.Duration {
	wait := min(firstRetry<<min(failures, 10), lastRetry)
	return wait - time.Duration(chance*float64(wait)/2)
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
	if !a.heard {
		a.heard = true
		a.fleet.counts.back.Add(1)
	}
}

// decide logs what the agent does of itself, under the name that it has in the plan.
func (a *agent) decide(what string, args ...any) {
	a.fleet.cfg.Logger.Debug(what, append([]any{"device", a.plan.Name}, args...)...)
}

// sleep waits, and tells whether the agent may go on.
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
