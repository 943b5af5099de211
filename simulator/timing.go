package simulator

import (
	"cmp"
	"math"
	"time"
)

// Timing says how long an agent waits of itself. A field of 0 is as in AgentTiming.
type Timing struct {
	// PollGap is how far apart the beginnings of two polls are at least. After one that took longer the next begins
	// at once.
	PollGap time.Duration
	// PollLimit is when an agent gives up a poll by itself.
	PollLimit time.Duration
	// PollRetry and PollRetryMax are what the wait after a failed poll doubles from and to.
	PollRetry, PollRetryMax time.Duration
	// StatusEvery is how often an agent compares its status with the one that it put last, beside the moments at which it
	// changes its status itself.
	StatusEvery time.Duration
	// CallRetry and CallRetryMax are what the wait after a status that was answered 429 or 5xx grows from and to.
	// CallRetryMax is also the most of a Retry-After that counts.
	CallRetry, CallRetryMax time.Duration
	// EnrollEvery and EnrollMax are what the wait between two looks at an enrollment request grows from and to.
	EnrollEvery, EnrollMax time.Duration
	// Restart is how long an agent is away that ends itself and is started again.
	Restart time.Duration
	// RenewRetry and RenewRetryMax are what the wait between two attempts at a renewal doubles from and to.
	RenewRetry, RenewRetryMax time.Duration
}

// AgentTiming is that of Flight Control's agents.
func AgentTiming() Timing {
	return Timing{
		PollGap: 5 * time.Second, PollLimit: 4 * time.Minute, PollRetry: 5 * time.Second, PollRetryMax: 5 * time.Minute,
		StatusEvery: time.Minute, CallRetry: 10 * time.Second, CallRetryMax: time.Minute,
		EnrollEvery: 10 * time.Second, EnrollMax: time.Minute, Restart: 5 * time.Second,
		RenewRetry: 10 * time.Minute, RenewRetryMax: 30 * time.Minute,
	}
}

// BriskTiming is that of agents in a demo, which has half a minute.
func BriskTiming() Timing {
	t := AgentTiming()
	t.PollGap, t.PollRetry, t.PollRetryMax = time.Second, time.Second, time.Minute
	t.StatusEvery, t.CallRetry = 2*time.Second, time.Second
	t.EnrollEvery, t.EnrollMax, t.Restart = 2*time.Second, 3*time.Second, time.Second
	return t
}

// withDefaults fills in what is 0.
func (t Timing) withDefaults() Timing {
	d := AgentTiming()
	for _, f := range []struct{ field, or *time.Duration }{
		{&t.PollGap, &d.PollGap},
		{&t.PollLimit, &d.PollLimit},
		{&t.PollRetry, &d.PollRetry},
		{&t.PollRetryMax, &d.PollRetryMax},
		{&t.StatusEvery, &d.StatusEvery},
		{&t.CallRetry, &d.CallRetry},
		{&t.CallRetryMax, &d.CallRetryMax},
		{&t.EnrollEvery, &d.EnrollEvery},
		{&t.EnrollMax, &d.EnrollMax},
		{&t.Restart, &d.Restart},
		{&t.RenewRetry, &d.RenewRetry},
		{&t.RenewRetryMax, &d.RenewRetryMax},
	} {
		*f.field = cmp.Or(*f.field, *f.or)
	}
	return t
}

// shortest is the shortest of the times.
func (t Timing) shortest() time.Duration {
	return min(t.PollGap, t.PollLimit, t.PollRetry, t.PollRetryMax, t.StatusEvery, t.CallRetry, t.CallRetryMax,
		t.EnrollEvery, t.EnrollMax, t.Restart, t.RenewRetry, t.RenewRetryMax)
}

// grown is a wait that has grown by a factor for each failure before, as far as to the longest one.
func grown(first, longest time.Duration, factor float64, failures int64) time.Duration {
	return time.Duration(min(float64(longest), float64(first)*math.Pow(factor, float64(min(failures, 60)))))
}

// jittered moves a wait by up to a share of it, either way; chance is between 0 and 1.
func jittered(wait time.Duration, share, chance float64) time.Duration {
	return wait + time.Duration((chance*2-1)*share*float64(wait))
}
