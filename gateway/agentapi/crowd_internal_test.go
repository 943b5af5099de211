package agentapi

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// A restore puts a whole fleet on its roll at once. Its agents are not all called at the same moment, and one that the roll
// call has answered does not wait behind them.
func TestAFleetOnARollIsCalledLittleByLittle(t *testing.T) {
	t.Parallel()
	const fleet = 100
	g := &Gateway{flow: newFlow(1), calling: newCalling(nil), cfg: Config{WatchEvery: 200 * time.Millisecond, OrgID: "ours"}}
	now := time.Now()
	for i := range 10 * fleet {
		g.noteMove(moved(fmt.Sprint("of another gateway", i), runbook.T1), now)
	}
	var woken []<-chan struct{}
	for i := range fleet {
		name := fmt.Sprint("d", i)
		ch, leave := g.waits.join(name)
		defer leave()
		woken = append(woken, ch)
		g.noteMove(moved(name, runbook.T1), now)
	}
	calls := func() (n int) {
		for _, ch := range woken {
			select {
			case <-ch:
				n++
			default:
			}
		}
		return n
	}
	require.Zero(t, calls())
	g.noteMove(moved("d99", runbook.T2), now)
	require.Equal(t, 1, calls())
	for _, want := range []int{40, 40} {
		g.callSome(now)
		require.Equal(t, want, calls())
	}
	g.flow.perSecond = firstRate / 4 // they come in vain
	for _, want := range []int{10, 10, 0} {
		g.callSome(now)
		require.Equal(t, want, calls())
	}
}

// Nobody is woken whose turn is yet to come, whatever the rate allows; devices of other organisations have places, too, and a
// newer roll takes over.
func TestAFleetIsCalledAfterItsRollCall(t *testing.T) {
	t.Parallel()
	g := &Gateway{flow: newFlow(1), calling: newCalling(nil), cfg: Config{WatchEvery: 200 * time.Millisecond, OrgID: "ours"}}
	now := time.Now()
	calls := make(map[string]<-chan struct{})
	put := func(restoreID string, from, to int) {
		for i := from; i < to; i++ {
			m := moved(fmt.Sprint("d", i), runbook.T1)
			m.RestoreID = restoreID
			if i%2 == 0 {
				m.OrgID = "theirs"
			}
			g.noteMove(m, now)
		}
	}
	for i := range 100 {
		ch, leave := g.waits.join(fmt.Sprint("d", i))
		defer leave()
		calls[fmt.Sprint("d", i)] = ch
	}
	woken := func() (n int) {
		for range 10 {
			g.callSome(now)
		}
		for _, ch := range calls {
			select {
			case <-ch:
				n++
			default:
			}
		}
		return n
	}
	put("r1", 0, 100)
	g.calling.watch("r1", now)
	g.calling.note(said(runbook.PhaseWaiting, 40), now)
	require.Equal(t, 20, woken())
	require.Zero(t, woken())
	g.noteMove(inventory.Moved{OrgID: "theirs", Name: "d99", RestoreID: "of their own", Transition: runbook.T1}, now)
	g.calling.note(said(runbook.PhaseWaiting, 60), now)
	require.Equal(t, 10, woken())
	put("r2", 0, 20)
	require.Equal(t, 10, woken(), "the newer restore has said nothing yet")
	require.Empty(t, g.uncalled.names)
}

func moved(name string, transition runbook.Transition) inventory.Moved {
	return inventory.Moved{OrgID: "ours", Name: name, RestoreID: "r1", Transition: transition}
}

// Agents that a slow database keeps from being answered come again one after the other, as those do whose reports wait.
func TestWhatCannotBeAnsweredIsAskedAgainLittleByLittle(t *testing.T) {
	t.Parallel()
	g := &Gateway{flow: newFlow(1)}
	away := asProblem(errors.New("the database is slow"))
	var last time.Duration
	for range 20 * firstRate {
		p := g.paced(away)
		require.GreaterOrEqual(t, p.again, retryAfter)
		last = p.again
	}
	require.Greater(t, last, 15*time.Second)
	require.NotZero(t, g.flow.missed, "it is a reason to ask less often")
	require.Zero(t, away.again, "it is not this agent's alone")
	refused := problemf(http.StatusBadRequest, "no")
	require.Same(t, refused, g.paced(refused))
	told := &problem{code: http.StatusServiceUnavailable, again: time.Hour}
	require.Same(t, told, g.paced(told))
}
