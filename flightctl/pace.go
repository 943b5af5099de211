package flightctl

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Clock is the time, and waiting for it.
type Clock interface {
	// Now is the present time.
	Now() time.Time
	// Sleep waits for d, or until ctx ends, whose error it returns.
	Sleep(ctx context.Context, d time.Duration) error
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pace holds what a Client sends to a number in a period, and sends nothing while Flight Control has asked for a pause.
type pace struct {
	clock   Clock
	limiter *rate.Limiter

	mu    sync.Mutex
	pause time.Time
}

// requestBurst is how many requests may go out together. With MaxRequestsPerMinute it stays below 150 in any minute.
const requestBurst = 5

func newPace(c Clock, perSecond float64, burst int) *pace {
	return &pace{clock: c, limiter: rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// wait returns when n more may be sent. Where the pace does not allow it before ctx's deadline it returns
// context.DeadlineExceeded at once.
func (p *pace) wait(ctx context.Context, n int) error {
	now := p.clock.Now()
	turn := p.limiter.ReserveN(now, n)
	delay := turn.DelayFrom(now)
	if delay <= 0 {
		return ctx.Err()
	}
	if end, ok := ctx.Deadline(); ok && now.Add(delay).After(end) {
		turn.CancelAt(now)
		return context.DeadlineExceeded
	}
	if err := p.clock.Sleep(ctx, delay); err != nil {
		turn.CancelAt(p.clock.Now())
		return err
	}
	return nil
}

// paused is how long nothing may be sent from now on.
func (p *pace) paused() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.pause.Sub(p.clock.Now()))
}

// stop lets nothing be sent for d.
func (p *pace) stop(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := p.clock.Now().Add(d); until.After(p.pause) {
		p.pause = until
	}
}
