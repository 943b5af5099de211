package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// The device of a long run is paused most of the time, four calls of ten have no answer, and the workers stand still
// from time to time. A search that tries all orders of the open calls would not end.
func TestALongHistoryIsDecided(t *testing.T) {
	t.Parallel()
	for _, calls := range []int{30, 60, 100, 200} {
		for seed := range uint64(8) {
			played, end := playedHistory(seed, calls)
			illegal, undecided := search(played, end, time.Minute)
			require.Empty(t, illegal, "%d calls, seed %d", calls, seed)
			require.Empty(t, undecided, "%d calls, seed %d", calls, seed)
		}
	}
}

func TestAWrongDecisionInALongHistoryIsFound(t *testing.T) {
	t.Parallel()
	found := 0
	for seed := range uint64(8) {
		played, end := playedHistory(seed, 40)
		look := &played[len(played)-1]
		if look.Seen.By == "" {
			continue
		}
		look.Seen.By = "a person who decided nothing"
		illegal, _ := search(played, end, time.Minute)
		require.Len(t, illegal, 1, "seed %d", seed)
		found++
	}
	require.Positive(t, found)
}

// A search that has no time left is neither a pass nor a failure, and the output says for which device.
func TestASearchWithoutTimeIsUndecided(t *testing.T) {
	t.Parallel()
	played, end := playedHistory(1, 20)
	illegal, undecided := search(played, end, 0)
	require.Empty(t, illegal)
	require.Len(t, undecided, 1)
	result := Result{Undecided: undecided}
	require.False(t, result.Bad())
	require.Contains(t, result.Summary(), "not decided in time for 1 device(s)")
	require.Contains(t, result.String(), "not decided in time: the order of 21 calls of 0000/d")
}

func legal(calls []Call, end time.Time) bool {
	illegal, undecided := search(calls, end, time.Minute)
	return len(illegal)+len(undecided) == 0
}

// playedHistory carries calls out on the table of transitions, and keeps some answers back. It returns them with the
// look at the end.
func playedHistory(seed uint64, calls int) (all []Call, end time.Time) {
	return played(seed, calls, false)
}

// played is playedHistory, with looks in between.
func played(seed uint64, calls int, looks bool) (all []Call, end time.Time) {
	random := rand.New(rand.NewPCG(seed, 0))
	type carriedOut struct {
		Call
		at time.Time
	}
	var plan []carriedOut
	for i := range calls {
		c := randomCall(random, i)
		delay := time.Second / 2
		if random.IntN(5) == 0 {
			delay = 8 * time.Second
		}
		at := c.Start.Add(time.Duration(random.Int64N(int64(delay))))
		c.End = at.Add(time.Duration(random.Int64N(int64(time.Second))))
		plan = append(plan, carriedOut{c, at})
	}
	slices.SortFunc(plan, func(a, b carriedOut) int { return a.at.Compare(b.at) })
	stands := row{State: runbook.StateAwaitingReconnect}
	for i, c := range plan {
		if c.Answer == Accepted && len(step(stands, c.Call)) == 0 {
			c.Answer = Refused
		}
		if c.Kind == Resume && c.Answer == Accepted && i < calls*3/4 {
			c.Answer, c.Version = Refused, "1" // so that the device is paused for long
		}
		after := step(stands, c.Call)
		stands = after[random.IntN(len(after))]
		if random.IntN(10) < 4 {
			c.Answer = Unknown
		}
		all = append(all, c.Call)
		end = later(end, c.End)
		if looks && random.IntN(6) == 0 {
			all = append(all, Call{
				OrgID: runbook.DefaultOrgID, Device: "d", Kind: Look, Seen: stands, Start: c.at, End: c.at.Add(time.Nanosecond),
			})
		}
	}
	return append(all, Call{
		OrgID: runbook.DefaultOrgID, Device: "d", Kind: Look, Seen: stands,
		Start: end.Add(time.Millisecond), End: end.Add(time.Second),
	}), end
}

func randomCall(random *rand.Rand, i int) Call {
	c := Call{
		OrgID: runbook.DefaultOrgID, Device: "d", Client: i, By: fmt.Sprintf("operator-%d", i),
		Version: fmt.Sprint(random.IntN(4) + 6), Start: time.Unix(int64(i), 0),
	}
	if i > 0 && random.IntN(3) == 0 {
		c.Version = fmt.Sprint(random.IntN(7) + 3)
	}
	switch n := random.IntN(100); {
	case n < 45:
		c.Kind, c.Answer = Put, Stored
	case n < 60:
		c.Kind, c.Answer = Report, Stored
	case n < 65:
		c.Kind, c.Answer = Report, Accepted
	default:
		c.Kind, c.Answer = Resume, Accepted
	}
	return c
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// What the search leaves out makes no difference: it decides short histories as one does that tries every order.
func TestTheSearchAgreesWithEveryOrder(t *testing.T) {
	t.Parallel()
	decided := map[bool]int{}
	for seed := range uint64(1000) {
		calls, end := anyHistory(seed)
		allowed := everyOrder(calls, end)
		require.Equal(t, allowed, legal(calls, end), "seed %d: %v", seed, calls)
		decided[allowed]++
	}
	require.Greater(t, decided[true], 100)
	require.Greater(t, decided[false], 100)
}

// anyHistory is a short history that may be impossible. In some the database is put back.
func anyHistory(seed uint64) (calls []Call, end time.Time) {
	random := rand.New(rand.NewPCG(seed, 1))
	calls, end = played(seed, 2+random.IntN(4), true)
	look := &calls[len(calls)-1]
	for i := range calls[:len(calls)-1] {
		c := &calls[i]
		if c.Kind == Look {
			continue
		}
		switch random.IntN(12) {
		case 0:
			c.Answer = []Answer{Accepted, Refused}[random.IntN(2)]
			if c.Kind == Put {
				c.Kind = Report
			}
		case 1:
			c.Kind, c.Answer = Withdraw, []Answer{Stored, Accepted, Refused, Unknown}[random.IntN(4)]
		case 2:
			c.Early = true
		case 3:
			c.By, c.Answer = look.Seen.By, Stored
		}
	}
	if at := random.IntN(len(calls)); random.IntN(3) == 0 {
		for i, kind := range []Kind{Save, PutBack} {
			start := calls[at].End.Add(time.Duration(4*i-5) * time.Second)
			calls = append(calls, Call{
				OrgID: look.OrgID, Device: look.Device, Kind: kind, Via: harness, Start: start, End: start.Add(time.Second),
				Answer: Accepted,
			})
		}
	}
	return calls, end
}

// everyOrder is the search without what keeps it short.
func everyOrder(calls []Call, end time.Time) bool {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{standing{now: row{State: runbook.StateAwaitingReconnect}}} },
		Step: func(state, input, _ any) (after []any) {
			s, c := state.(standing), input.(Call)
			switch c.Kind {
			case Save:
				return []any{standing{now: s.now, saved: s.now}}
			case PutBack:
				return []any{standing{now: s.saved, saved: s.saved}}
			}
			for _, to := range step(s.now, c) {
				after = append(after, standing{now: to, saved: s.saved})
			}
			return after
		},
		Equal: func(a, b any) bool { return a == b },
	}
	var operations []porcupine.Operation
	for _, c := range afterLosses(calls) {
		if c.open() {
			c.End = end
		}
		operations = append(operations, porcupine.Operation{Input: c, Call: c.Start.UnixNano(), Return: c.End.UnixNano()})
	}
	return porcupine.CheckOperations(model.ToModel(), operations)
}
