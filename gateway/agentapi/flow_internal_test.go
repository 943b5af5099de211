package agentapi

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"rollcall/inventory"
	"rollcall/runbook"
)

// now is a context that lets no one wait.
func now(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestSoManyReportsAreUnderWayAtOnce(t *testing.T) {
	t.Parallel()
	f := newFlow(2)
	require.NoError(t, f.enter(t.Context(), "a"))
	require.NoError(t, f.enter(t.Context(), "b"))
	require.Error(t, f.enter(now(t), "c"))
	require.NoError(t, f.enter(t.Context(), "a"), "it has a place already")
	f.answered("nobody")
	require.Error(t, f.enter(now(t), "c"))
	f.answered("a")
	require.NoError(t, f.enter(t.Context(), "c"))
	f.expire(time.Now())
	require.Error(t, f.enter(now(t), "d"))
	f.expire(time.Now().Add(answerPatience))
	require.NoError(t, f.enter(t.Context(), "d"), "no one was seen to answer the others")
	require.Equal(t, 1, f.underWay())
	f.failed("e", time.Now().Add(time.Hour))
	f.expire(time.Now().Add(answerPatience))
	require.Equal(t, 1, f.underWay(), "what could not be sent keeps its place for a moment")
}

// Those who wait are let in in the order in which they came, and one that has gone holds up no one.
func TestReportsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	f := newFlow(1)
	require.NoError(t, f.enter(t.Context(), "first"))
	var turns []*turn
	for i := range 4 {
		turns = append(turns, f.join(fmt.Sprint(i)))
	}
	f.leave(turns[1])
	f.answered("first")
	<-turns[0].come
	require.Equal(t, 1, f.underWay())
	f.leave(turns[0]) // its agent has gone in the moment in which its turn came
	<-turns[2].come
	f.answered("2")
	<-turns[3].come
}

func TestAFloodWaitsAndIsLetIn(t *testing.T) {
	t.Parallel()
	f := newFlow(5)
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			name := fmt.Sprint(i)
			if err := f.enter(t.Context(), name); err != nil {
				panic(err)
			}
			if n := f.underWay(); n > 5 {
				panic(n)
			}
			f.answered(name)
		})
	}
	wait.Wait()
	require.Zero(t, f.underWay())
	require.Empty(t, f.waiting)
}

func moved(name string, transition runbook.Transition) inventory.Moved {
	return inventory.Moved{OrgID: "ours", Name: name, RestoreID: "r1", Transition: transition}
}

// A restore puts a whole fleet on its roll at once. The polls from before are ended little by little, and one whose
// device the roll call has answered does not wait behind them.
func TestAFleetOnARollIsCalledLittleByLittle(t *testing.T) {
	t.Parallel()
	const fleet = 1000
	g := &Gateway{flow: newFlow(1), calls: rate.NewLimiter(callsPerSecond, 40), cfg: Config{OrgID: "ours"}}
	var woken []<-chan struct{}
	at := time.Now()
	for i := range fleet {
		g.noteMove(moved(fmt.Sprint("of another gateway", i), runbook.T1))
		theirs := moved(fmt.Sprint("d", i), runbook.T1)
		theirs.OrgID = "theirs"
		g.noteMove(theirs)
		name := fmt.Sprint("d", i)
		ch, leave := g.polls.join(name)
		defer leave()
		woken = append(woken, ch)
		g.noteMove(moved(name, runbook.T1))
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
	g.noteMove(moved("d999", runbook.T2))
	require.Equal(t, 1, calls())
	g.callSome(at)
	require.Equal(t, 40, calls())
	called := 0
	for range 10 {
		at = at.Add(100 * time.Millisecond)
		g.callSome(at)
		called += calls()
	}
	require.InDelta(t, callsPerSecond, called, 1)
	next := moved("d0", runbook.T1)
	next.RestoreID = "r2"
	g.noteMove(next)
	g.callSome(at.Add(time.Second))
	require.Equal(t, 1, calls(), "the newer roll takes over")
	require.Empty(t, g.uncalled.names)
}

// Reports of the same moment share a statement, and of two of one device the newer is written last.
func TestReportsAreNotedTogether(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		wrote [][]inventory.NoteReportInput
	)
	begun, goOn := make(chan struct{}, 10), make(chan error)
	n := &notes{write: func(_ context.Context, reports []inventory.NoteReportInput) (noted []inventory.Noted, err error) {
		mu.Lock()
		wrote = append(wrote, reports)
		mu.Unlock()
		begun <- struct{}{}
		for _, r := range reports {
			if r.Name != "unknown" {
				noted = append(noted, inventory.Noted{Name: r.Name, Called: r.Name == "called"})
			}
		}
		return noted, <-goOn
	}}
	type result struct {
		noted inventory.Noted
		found bool
		err   error
	}
	note := func(name, version string) <-chan result {
		done := make(chan result, 1)
		go func() {
			noted, found, err := n.note(t.Context(), inventory.NoteReportInput{Name: name, Version: version})
			done <- result{noted, found, err}
		}()
		return done
	}
	waiting := func(many int) {
		require.Eventually(t, func() bool { n.mu.Lock(); defer n.mu.Unlock(); return len(n.waiting) == many }, time.Minute,
			time.Millisecond)
	}
	first := note("first", "5")
	<-begun
	called, unknown, older := note("called", "5"), note("unknown", "5"), note("twice", "5")
	waiting(3)
	newer := note("twice", "6")
	waiting(4)
	goOn <- nil
	require.Equal(t, result{inventory.Noted{Name: "first"}, true, nil}, <-first)
	<-begun
	goOn <- nil
	require.Equal(t, result{inventory.Noted{Name: "called", Called: true}, true, nil}, <-called)
	require.False(t, (<-unknown).found)
	require.NoError(t, (<-older).err)
	<-begun
	goOn <- context.DeadlineExceeded
	require.ErrorIs(t, (<-newer).err, context.DeadlineExceeded)
	require.Len(t, wrote, 3)
	require.Len(t, wrote[1], 3)
	require.Equal(t, "6", wrote[2][0].Version)
	_, _, err := n.note(now(t), inventory.NoteReportInput{Name: "gone"})
	require.ErrorIs(t, err, context.Canceled, "who has gone does not wait")
	<-begun
	goOn <- nil
}
