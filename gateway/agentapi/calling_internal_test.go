package agentapi

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// said is what a restore of 100,000 devices answers.
func said(phase string, called int64) runbook.RestoreProgress {
	return runbook.RestoreProgress{Phase: phase, Total: 100_000, Called: &called}
}

// An agent whose turn is yet to come is told when that will be, at the rate at which devices are being called.
func TestAnAgentIsToldWhenTheRollCallComesToIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newCalling(nil)
	wait := func(seq int64) time.Duration {
		wait, early := c.early("r1", seq, now)
		require.Equal(t, early, wait > 0)
		return wait
	}
	require.Zero(t, wait(90_000), "nobody has asked for it")
	c.watch("r1", now)
	require.Zero(t, wait(90_000), "the restore has said nothing")
	c.note(runbook.RestoreProgress{Phase: runbook.PhaseWaiting, Total: 100_000}, now)
	require.Zero(t, wait(90_000), "a worker of an earlier release does not say how many it has called")

	c.note(said(runbook.PhaseRoll, 0), now)
	require.Equal(t, 100*time.Second, wait(100*firstCallRate-1))
	c.note(said(runbook.PhaseWaiting, 0), now)
	require.Zero(t, wait(100_000), "it has joined late")
	for _, called := range []int64{2_000, 4_000, 6_000} { // 50 a second
		now = now.Add(40 * time.Second)
		c.note(said(runbook.PhaseWaiting, called-2_000), now)
		require.Equal(t, 40*time.Second, wait(called-2_000), "as long again as nobody was called")
		c.note(said(runbook.PhaseWaiting, called), now)
		c.note(runbook.RestoreProgress{Phase: runbook.PhaseWaiting, Total: 100_000}, now) // a worker of an earlier release
	}
	require.Zero(t, wait(5_999))
	require.Equal(t, retryAfter, wait(6_000))
	require.Equal(t, 10*time.Minute, wait(6_000+10*60*50-1))
	for range 100 {
		require.GreaterOrEqual(t, wait(99_999), longestTurn/2, "farther off than an agent is ever told")
		require.Less(t, wait(99_999), longestTurn)
	}

	now = now.Add(40 * time.Second)
	c.note(said(runbook.PhaseWaiting, 500), now)
	require.Equal(t, 10*time.Minute, wait(500+10*60*50-1), "another run has taken the roll up again, as fast as the one before")
	now = now.Add(2 * askLargeEvery)
	require.NotZero(t, wait(90_000))
	now = now.Add(1)
	require.Zero(t, wait(90_000), "it may be farther by now, and nobody has asked")
	c.asking, c.askedAt = true, now.Add(-1)
	require.NotZero(t, wait(90_000), "it is being asked, and has not answered yet")
	c.askedAt = now
	require.Zero(t, wait(90_000), "it is being asked for the first time in a while")
	c.asking = false
	_, early := c.early("r2", 90_000, now)
	require.False(t, early, "it is another restore")
	c.watch("r2", now)
	require.Zero(t, wait(90_000), "the other restore has taken over")
}

// A restore that says nothing new keeps nobody waiting for longer than a while: each report is tried then. How long it stood
// still says nothing of how fast it goes on.
func TestWhatStandsStillIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c := newCalling(nil)
	c.watch("r1", start)
	early := func(at time.Duration) bool {
		_, early := c.early("r1", 50_000, start.Add(at))
		return early
	}
	c.note(said(runbook.PhaseWaiting, 0), start.Add(-time.Minute))
	c.note(said(runbook.PhaseWaiting, 6_000), start) // 100 a second
	c.unheardAt = start.Add(askLargeEvery)
	require.False(t, early(silence-time.Minute), "nobody has asked it since")
	c.unheardAt = start.Add(silence - 2*askLargeEvery) // it was asked, and has not answered
	require.True(t, early(silence))
	require.False(t, early(silence+time.Second), "it may never answer again")
	c.note(said(runbook.PhaseWaiting, 6_000), start.Add(standstill))
	c.note(said(runbook.PhaseClosing, 6_000), start.Add(standstill))
	require.True(t, early(standstill))
	c.unheardAt = start.Add(2*standstill - askLargeEvery)
	require.True(t, early(2*standstill), "it does not answer")
	c.note(said(runbook.PhaseWaiting, 6_000), start.Add(standstill+time.Second))
	require.False(t, early(standstill+time.Second))
	c.note(said(runbook.PhaseWaiting, 8_000), start.Add(10*standstill))
	wait, _ := c.early("r1", 8_000+6_000-1, start.Add(10*standstill))
	require.Equal(t, time.Minute, wait)
}

// A restore that calls its devices in a moment need not be asked how far it has come.
func TestASmallFleetIsNotHeldBack(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newCalling(nil)
	c.watch("r1", now)
	for _, tc := range []struct {
		phase string
		total int64
		early bool
	}{
		{runbook.PhaseRoll, runbook.DefaultBatchSize, false}, // it is being made, and may be all there is
		{runbook.PhaseRoll, runbook.DefaultBatchSize + 1, true},
		{runbook.PhaseWaiting, runbook.DefaultBatchSize + 1, true},
		{runbook.PhaseWaiting, runbook.DefaultBatchSize, false},
	} {
		c.note(runbook.RestoreProgress{Phase: tc.phase, Total: tc.total, Called: new(int64)}, now)
		_, early := c.early("r1", tc.total-1, now)
		require.Equal(t, tc.early, early, "%s, %d devices", tc.phase, tc.total)
	}
}

// However many agents come, a restore is asked by one of them at a time, and no more often than it makes sense.
func TestARestoreIsAskedByOneAtATime(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan string, 10), make(chan error)
	c := newCalling(nil)
	c.ask = func(ctx context.Context, restoreID string) (runbook.RestoreProgress, error) {
		asked <- restoreID
		return said(runbook.PhaseWaiting, 500), <-answer
	}
	now := time.Now()
	for range 100 {
		c.watch("r1", now)
		c.early("r1", 90_000, now.Add(time.Hour)) // the first has not been answered
	}
	require.Equal(t, "r1", <-asked)
	answer <- fmt.Errorf("away")
	idle := func() bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.asking }
	require.Eventually(t, idle, time.Minute, time.Millisecond)
	c.watch("r1", now.Add(askEvery-1))
	require.Empty(t, asked)
	c.watch("r1", now.Add(askEvery))
	require.Equal(t, "r1", <-asked)
	answer <- nil
	require.Eventually(t, idle, time.Minute, time.Millisecond)
	_, early := c.early("r1", 90_000, now.Add(askEvery))
	require.True(t, early)
	c.watch("r1", now.Add(askEvery+askLargeEvery-1)) // it has said that it is large
	require.Empty(t, asked)
	c.watch("r1", now.Add(askEvery+askLargeEvery))
	require.Equal(t, "r1", <-asked)
	answer <- nil
	require.Eventually(t, idle, time.Minute, time.Millisecond)
	c.movedAt = c.movedAt.Add(-standstill - time.Hour) // it has said the same for long
	c.watch("r1", now.Add(askEvery+2*askLargeEvery))
	require.Empty(t, asked, "it stands still")
	c.watch("r1", now.Add(askEvery+askLargeEvery+askStillEvery))
	require.Equal(t, "r1", <-asked)
	answer <- nil
}
