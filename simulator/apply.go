package simulator

import (
	"context"
	"time"
)

// apply makes the device run the version that was served: it takes its time, fails where the agent is one of those, and
// reboots where it is one of these. After a failure the agent tries again by itself.
func (a *agent) apply(ctx context.Context) {
	version, image := a.pending.version, a.pending.image
	scenario := a.fleet.cfg.Scenario
	takes := scenario.ApplySeconds
	if a.plan.Slow {
		takes = scenario.Slow.ApplySeconds
	}
	seconds := takes.in(a.throw("apply", int64(version)))
	a.decide("applies", "version", version, "seconds", seconds)
	if !a.tell(ctx, StateApplying, updating(version)) || !sleep(ctx, a.fleet.paced(seconds)) {
		return
	}
	if a.fails(version) {
		a.mood, a.sayAt = failing(version), time.Time{}
		wait := grown(firstApply, lastApply, 2, int64(a.failedTimes))
		a.applyAt = time.Now().Add(jittered(wait, 0.2, a.throw("failed", int64(version)).Float64()))
		return
	}
	if a.plan.Rebooting {
		away := scenario.Rebooting.AwaySeconds.in(a.throw("reboot", int64(version)))
		a.decide("reboots", "seconds", away)
		if !a.tell(ctx, StateApplying, rebooting(version)) {
			return
		}
		a.fleet.counts.reboots.Add(1)
		a.boots++
		a.away(ctx, StateRebooting, away)
		if a.told = nil; ctx.Err() != nil {
			return
		}
	}
	a.version, a.mood, a.pending, a.sayAt = format(version), online, nil, time.Time{}
	a.mood.image = image
	a.fleet.counts.applied.Add(1)
	a.decide("runs", "version", version)
}

// fails reports whether the agent fails at a version this time, and counts it.
func (a *agent) fails(version uint64) bool {
	if version != a.failedAt {
		a.failedAt, a.failedTimes = version, 0
	}
	times := a.fleet.cfg.Scenario.Failing.Times
	if !a.plan.Failing || times > 0 && a.failedTimes >= times {
		return false
	}
	a.failedTimes++
	a.fleet.counts.failed.Add(1)
	a.decide("fails", "version", version, "times", a.failedTimes)
	return true
}

// tell reports what the agent is about to do, and reports whether it may. That the report is lost stops nothing: there
// will be another.
func (a *agent) tell(ctx context.Context, state State, m mood) bool {
	a.enter(state)
	m.image = a.mood.image
	a.mood = m
	if err := a.report(ctx); err != nil {
		a.fleet.counts.fail(err)
	}
	return ctx.Err() == nil && a.http != nil
}
