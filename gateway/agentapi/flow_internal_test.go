package agentapi

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSoManyReportsAreUnderWayAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(2)
	require.True(t, f.enter("a", now))
	require.True(t, f.enter("b", now))
	require.False(t, f.enter("c", now))
	require.True(t, f.enter("a", now.Add(10*time.Second)), "it has a place already, and keeps it no longer for that")
	f.answered("nobody", now)
	require.False(t, f.enter("c", now))
	f.answered("a", now)
	require.True(t, f.enter("c", now))
	require.False(t, f.enter("d", now.Add(answerPatience-1)))
	require.True(t, f.enter("d", now.Add(answerPatience)), "nobody was seen to answer b")
	require.Len(t, f.until, 1, "c, which entered at the same time as b, is given up as well")
}

// A report that is said again and again while nobody answers gives its place to another as any other does.
func TestAReportThatIsRepeatedKeepsItsPlaceNoLonger(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(1)
	for said := time.Duration(0); said < answerPatience; said += answerPatience / 3 {
		require.True(t, f.enter("a", now.Add(said)))
		require.False(t, f.enter("b", now.Add(said)))
	}
	require.True(t, f.enter("b", now.Add(answerPatience)))
}

// What cannot be sent keeps its place for a moment, so that an outage is not asked about by a whole fleet at once.
func TestAReportThatCouldNotBeSentKeepsItsPlace(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(1)
	require.True(t, f.enter("a", now))
	f.failed("a", now.Add(retryAfter))
	require.False(t, f.enter("b", now.Add(retryAfter-1)))
	require.True(t, f.enter("b", now.Add(retryAfter)))
}

func TestAgentsComeAgainOneAfterTheOther(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(1000)
	const rate, agents = 400, 80_000
	for second := range 60 {
		for n := range rate {
			name := fmt.Sprint(second, n)
			require.True(t, f.enter(name, now))
			f.answered(name, now)
		}
		f.full = true // somebody found no place
		now = now.Add(time.Second)
	}
	inSecond := map[int]int{}
	for range agents {
		wait := f.comeAgain(now, retryAfter)
		require.GreaterOrEqual(t, wait, retryAfter)
		require.LessOrEqual(t, wait, longestTurn)
		inSecond[int(wait.Seconds())]++
	}
	require.InDelta(t, 2*rate, inSecond[60], 1, "twice as many as are answered in a second")
	require.LessOrEqual(t, inSecond[int(retryAfter.Seconds())], 7*2*rate, "the first of them come a little late")
	require.LessOrEqual(t, inSecond[0]+inSecond[1], 0)
	require.Less(t, f.comeAgain(now.Add(time.Hour), retryAfter), retryAfter+time.Second, "nobody waits for those of an hour ago")
}

// More agents than can be told one after the other are not all told the same.
func TestTooManyAgentsAreSpread(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(1)
	inSecond := map[int]int{}
	const agents = 100_000
	for range agents {
		inSecond[int(f.comeAgain(now, retryAfter).Seconds())]++
	}
	late := 0
	for second, n := range inSecond {
		if second > int(retryAfter.Seconds()) {
			require.Less(t, n, 2*agents/int(shortestTurn.Seconds()/2), "second %d", second)
			late += n
		}
	}
	require.Greater(t, late, agents*9/10)
}

// What is answered where nobody has to wait says nothing of how much could be.
func TestQuietTimesDoNotMakeTheRateFall(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(10)
	for range 100 {
		now = now.Add(2 * rateWindow)
		require.True(t, f.enter("a", now))
		f.answered("a", now)
	}
	require.InDelta(t, firstRate, f.perSecond, 0.001)
	wait := f.comeAgain(now, 0)
	require.LessOrEqual(t, wait, time.Second/firstRate)
}

// An hour in which hardly anybody reported does not count as one in which no more could be answered.
func TestAStormAfterAQuietHourIsNotTakenForASlowService(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(1)
	f.perSecond = 10 * firstRate
	require.True(t, f.enter("straggler", now))
	f.answered("straggler", now)
	now = now.Add(time.Hour)
	require.True(t, f.enter("a", now))
	require.False(t, f.enter("b", now))
	require.LessOrEqual(t, f.comeAgain(now, 0), time.Second/(10*firstRate))
}

// Waits that were told cannot be taken back: they are short where nothing is known yet, also where little was answered in a
// storm that is over.
func TestAStormWaitsNoLongerThanItMust(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(1)
	for range 2 {
		for range 3000 {
			require.LessOrEqual(t, f.comeAgain(now, retryAfter), 15*time.Second)
		}
		require.True(t, f.enter("a", now))
		f.failed("a", now.Add(time.Minute))
		for range 59 {
			require.False(t, f.enter("b", now))
			now = now.Add(time.Second)
		}
		require.InDelta(t, 20, f.perSecond, 1, "nothing is answered, and nobody is to ask often")
		now = now.Add(time.Hour)
		require.True(t, f.enter("b", now))
		now = now.Add(time.Hour)
	}
}

// Agents that were told to come late though there is room again are told to come sooner.
func TestFreePlacesBringAgentsBackSooner(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(10)
	for range 51 * firstRate {
		f.comeAgain(now, 0)
	}
	require.Greater(t, f.comeAgain(now, 0), 50*time.Second)
	now = now.Add(rateWindow)
	require.Less(t, f.comeAgain(now, 0), time.Second)
	require.InDelta(t, 2*firstRate, f.perSecond, 0.001)
}

// Where the roll call is not ready for anybody, free places say nothing of how many agents should come.
func TestAgentsThatComeInVainAreNotAskedMoreOften(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(500)
	for range 20 * firstRate {
		f.comeAgain(now, retryAfter)
	}
	tries := 0
	for range 5 * 60 {
		now = now.Add(time.Second)
		tries += int(f.rateAt(now))
		for n := range int(f.rateAt(now)) {
			name := fmt.Sprint(now, n)
			if f.enter(name, now) {
				f.failed(name, now.Add(retryAfter))
			}
			f.comeAgain(now, retryAfter)
		}
	}
	require.InDelta(t, slowestRate, f.rateAt(now), 1)
	require.Less(t, tries, 7*60*slowestRate)
}

// Agents that a database has no time for are no reason to ask more of them: free places mean nothing then.
func TestASlowDatabaseIsAskedLessOften(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(500)
	for range 20 * firstRate {
		f.comeAgain(now, retryAfter)
	}
	asked := 0
	for range 5 * 60 {
		asked += int(f.rateAt(now))
		for range int(f.rateAt(now)) {
			f.unanswered(now)
			f.comeAgain(now, retryAfter)
		}
		now = now.Add(time.Second)
	}
	require.InDelta(t, slowestRate, f.rateAt(now), 1)
	require.Less(t, asked, 7*60*slowestRate)
}

// Who has been turned away for long may be told to come later, and never by more than it has waited so far.
func TestALongStormIsAskedLessOften(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(1)
	f.perSecond = slowestRate
	latest := func() (wait time.Duration) {
		for range 100_000 {
			wait = max(wait, f.comeAgain(now, retryAfter))
		}
		return wait
	}
	for _, step := range []struct{ after, want time.Duration }{
		{0, 5 * time.Minute},
		{4 * time.Minute, 5 * time.Minute},
		{4 * time.Minute, 8 * time.Minute},
		{6 * time.Minute, 14 * time.Minute},
		{10 * time.Minute, 15 * time.Minute},
		{time.Hour, 5 * time.Minute}, // another storm
	} {
		now = now.Add(step.after)
		wait := latest()
		require.LessOrEqual(t, wait, step.want)
		require.Greater(t, wait, step.want*9/10)
	}
}

// While agents wait for their turn, those who come without one are let in no faster.
func TestNobodyPushesIn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFlow(500)
	f.perSecond = slowestRate
	for range 200 * slowestRate {
		f.comeAgain(now, retryAfter)
	}
	sent := 0
	for second := range 60 {
		for n := range 100 {
			if name := fmt.Sprint(second, n); f.enter(name, now) {
				sent++
				f.failed(name, now.Add(retryAfter)) // its workflow is not there yet
			}
		}
		now = now.Add(time.Second)
	}
	require.InDelta(t, 60*slowestRate+slowestRate*rateWindow.Seconds(), sent, 2*slowestRate)
	for range 60 {
		for range int(f.perSecond) {
			if name := fmt.Sprint(now, sent); f.enter(name, now) {
				sent++
				f.answered(name, now)
			}
		}
		now = now.Add(time.Second)
	}
	require.GreaterOrEqual(t, f.perSecond, float64(firstRate), "all who come are answered, and more are asked")
}
