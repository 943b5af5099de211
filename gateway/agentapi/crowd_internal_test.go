package agentapi

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// A restore puts a whole fleet on its roll at once. Its agents are not all called at the same moment, and one that the roll
// call has answered does not wait behind them.
func TestAFleetOnARollIsCalledLittleByLittle(t *testing.T) {
	t.Parallel()
	const fleet = 100
	g := &Gateway{flow: newFlow(1), cfg: Config{WatchEvery: 200 * time.Millisecond}}
	now := time.Now()
	for i := range 10 * fleet {
		g.noteMove(fmt.Sprint("of another gateway", i), runbook.T1, now)
	}
	var woken []<-chan struct{}
	for i := range fleet {
		name := fmt.Sprint("d", i)
		ch, leave := g.waits.join(name)
		defer leave()
		woken = append(woken, ch)
		g.noteMove(name, runbook.T1, now)
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
	g.noteMove("d99", runbook.T2, now)
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
	require.Zero(t, away.again, "it is not this agent's alone")
	refused := problemf(http.StatusBadRequest, "no")
	require.Same(t, refused, g.paced(refused))
	told := &problem{code: http.StatusServiceUnavailable, again: time.Hour}
	require.Same(t, told, g.paced(told))
}
