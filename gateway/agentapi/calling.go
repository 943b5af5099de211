package agentapi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

// Querier asks workflows; a Temporal client is one.
type Querier interface {
	QueryWorkflow(ctx context.Context, workflowID, runID, query string, args ...any) (converter.EncodedValue, error)
}

const (
	// askEvery is how often a restore is asked at most; for a large fleet, whose calling takes long, up to askLargeEvery.
	askEvery, askLargeEvery = time.Second, 5 * time.Second
	// What a restore has said counts no more when its answers have been the same for standstill, as a batch of its may never say
	// that it has called its devices; or after silence, as it may never answer again. A shorter silence counts for nothing:
	// where a query has no answer, workflows are hardly started, and what would be tried in its place would take them more time.
	// It is asked every askStillEvery then.
	standstill, silence, askStillEvery = 5 * time.Minute, 2 * longestTurn, time.Minute
	// firstCallRate is how many devices a second it is taken to call before that is known: what two fast cores were measured
	// to start where no agents were there.
	firstCallRate = 100
	// callingWindow is over what time at least the rate is reckoned at which devices are called.
	callingWindow = 30 * time.Second
)

// calling is how far the restore that runs has come with starting the workflows of its devices, in the order of its roll, as
// far as it is worth knowing: a large fleet is back long before the last of them. The agent of a device whose turn is minutes
// away is told so, in place of a signal that would find no workflow, now and again and again. It only delays: where nothing
// is known each report is tried, and each status is stored.
type calling struct {
	// ask asks a restore; nil is nobody to ask.
	ask func(ctx context.Context, restoreID string) (runbook.RestoreProgress, error)

	mu        sync.Mutex
	restoreID string
	said      runbook.RestoreProgress
	// askedAt is when it was asked last, heardAt when it answered, unheardAt when it did not, movedAt when it last said something
	// new, and calledAt when it last had called more devices; asking tells that it is being asked.
	askedAt, heardAt, unheardAt, movedAt, calledAt time.Time
	asking                                         bool
	// perSecond is how many devices it calls, reckoned since it had called markCalled of them at markAt.
	perSecond  float64
	markCalled int64
	markAt     time.Time
}

func newCalling(q Querier) *calling {
	c := &calling{}
	if q != nil {
		c.ask = func(ctx context.Context, restoreID string) (progress runbook.RestoreProgress, err error) {
			value, err := q.QueryWorkflow(ctx, runbook.RestoreWorkflowID(restoreID), "", runbook.QueryTally)
			if err == nil {
				err = value.Get(&progress)
			}
			if err != nil {
				return progress, fmt.Errorf("ask restore %s how far it has come: %w", restoreID, err)
			}
			return progress, nil
		}
	}
	return c
}

// watch makes it worth knowing how far a restore has come: some of its devices have no workflow yet.
func (c *calling) watch(restoreID string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restoreID != restoreID {
		c.restoreID, c.said, c.perSecond = restoreID, runbook.RestoreProgress{}, 0
		c.askedAt, c.heardAt, c.unheardAt, c.movedAt, c.calledAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	c.askLocked(now)
}

// early tells whether a device's turn has not come, and when it will have as far as can be told. The number is that on the
// restore's roll.
func (c *calling) early(restoreID string, seq int64, now time.Time) (wait time.Duration, early bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restoreID != restoreID || c.hasCalled(seq) {
		return 0, false
	}
	c.askLocked(now)
	if c.standsStill(now) || c.isOld(now) {
		return 0, false
	}
	rate := c.perSecond
	if rate == 0 {
		rate = firstCallRate // too short a wait costs the agent another way, too long a one cannot be taken back
	}
	wait = time.Duration(float64(seq+1-*c.said.Called) / rate * float64(time.Second))
	// Devices are called in steps, and it may be slower than it was, or than was guessed: as long again as nobody was called.
	wait = max(wait, now.Sub(c.calledAt))
	if wait > longestTurn {
		wait = longestTurn/2 + rand.N(longestTurn/2)
	}
	return max(retryAfter, wait), true
}

// hasCalled is also true of everybody where the restore has not said how far it is, or has no more devices than it calls in a
// moment, and of those who joined its roll late, whose workflows are not its own.
func (c *calling) hasCalled(seq int64) bool {
	called := c.said.Called
	return called == nil || seq < *called || c.said.Total <= runbook.DefaultBatchSize || c.callsDevices() && seq >= c.said.Total
}

func (c *calling) standsStill(now time.Time) bool {
	return c.heardAt.Sub(c.movedAt) > standstill || now.Sub(c.heardAt) > silence
}

// isOld tells whether the restore may be farther, as nobody has asked it since, in vain or not. While it is asked what was known
// before is good enough: an answer takes long where the whole fleet is here.
func (c *calling) isOld(now time.Time) bool {
	old := 2 * c.every(now)
	if c.asking {
		now = c.askedAt
	}
	return now.Sub(c.heardAt) > old && now.Sub(c.unheardAt) > old
}

// every is how often it is asked.
func (c *calling) every(now time.Time) time.Duration {
	if !c.heardAt.IsZero() && c.standsStill(now) {
		return askStillEvery
	}
	return min(askLargeEvery, askEvery+time.Duration(c.said.Total)*askEvery/10_000)
}

// callsDevices tells whether the roll is complete.
func (c *calling) callsDevices() bool {
	return c.said.Phase == runbook.PhaseWaiting || c.said.Phase == runbook.PhaseClosing || c.said.Phase == runbook.PhaseEnded
}

// askLocked asks beside whoever wants to know, one at a time.
func (c *calling) askLocked(now time.Time) {
	if c.ask == nil || c.asking || now.Sub(c.askedAt) < c.every(now) {
		return
	}
	c.asking, c.askedAt = true, now
	restoreID := c.restoreID
	go func() {
		ctx, cancel := bounded(context.Background())
		defer cancel()
		said, err := c.ask(ctx, restoreID)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asking = false
		switch {
		case c.restoreID != restoreID:
		case err != nil:
			c.unheardAt = time.Now()
		default:
			c.note(said, time.Now())
		}
	}()
}

// note reckons with what the restore has said. A worker of an earlier release takes back nothing that another has said.
func (c *calling) note(said runbook.RestoreProgress, now time.Time) {
	if said.Called == nil {
		return
	}
	before, first, began, stood := c.said, c.heardAt.IsZero(), c.callsDevices(), c.standsStill(now)
	c.said, c.heardAt = said, now
	stepped := first || *before.Called != *said.Called
	if stepped {
		c.calledAt = now
	}
	if stepped || before.Total != said.Total || began != c.callsDevices() {
		c.movedAt = now
	}
	switch over := now.Sub(c.markAt); {
	case !c.callsDevices():
	case !began, stood, *said.Called < c.markCalled: // another run of it has taken the roll up again
		c.markCalled, c.markAt = *said.Called, now
	case stepped && over >= callingWindow:
		// From one batch to another, as they are called in steps.
		c.perSecond = float64(*said.Called-c.markCalled) / over.Seconds()
		c.markCalled, c.markAt = *said.Called, now
	}
}
