package faults

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"rollcall/runbook"
)

// deviceLimit bounds the search for an order of the calls of one device, and searchLimit that of all.
const (
	deviceLimit = 5 * time.Second
	searchLimit = time.Minute
)

// search looks for an order of the calls of each device, and of each request, that the model allows. It returns the
// calls of those for which there is none, and of those for which the time did not suffice.
func search(calls []Call, end time.Time, limit time.Duration) (illegal, undecided [][]Call) {
	type device struct {
		orgID, name string
		request     bool
	}
	var order []device
	by := map[device][]Call{}
	for _, c := range calls {
		d := device{c.OrgID, c.Device, c.Request}
		if c.Answer == Unheard {
			continue
		}
		if by[d] == nil {
			order = append(order, d)
		}
		by[d] = append(by[d], c)
	}
	deadline := time.Now().Add(limit)
	for _, d := range order {
		search := searchDevice
		if d.request {
			search = searchRequest
		}
		switch search(by[d], end, min(deviceLimit, time.Until(deadline))) {
		case porcupine.Illegal:
			illegal = append(illegal, by[d])
		case porcupine.Unknown:
			undecided = append(undecided, by[d])
		}
	}
	return illegal, undecided
}

// atEnd is the moment after which an open call moves nothing any more.
const atEnd Kind = "end"

// open reports whether the call may take effect at any time until everything has come to rest.
func (c Call) open() bool { return c.Answer == Stored || c.Answer == Unknown }

// maxOpen is how many open calls of one device the search can tell apart.
const maxOpen = 512

func searchDevice(calls []Call, end time.Time, limit time.Duration) porcupine.CheckResult {
	var h history
	var operations []porcupine.Operation
	add := func(c Call) {
		input := operation{Call: c, place: len(h.open), alike: -1}
		if c.open() {
			c.End = end.Add(time.Hour) // after the look
			input.alike = h.lastAlike(c)
			h.open = append(h.open, c)
		}
		operations = append(operations, porcupine.Operation{
			ClientId: c.Client, Input: input, Call: c.Start.UnixNano(), Return: c.End.UnixNano(),
		})
	}
	add(Call{Kind: atEnd, Start: end, End: end})
	calls = afterLosses(calls)
	slices.SortStableFunc(calls, func(a, b Call) int { return a.Start.Compare(b.Start) })
	for _, c := range calls {
		switch c.Kind {
		case Look:
			h.last = &c.Seen
		case PutBack:
			h.putBacks++
		}
		add(c)
	}
	if limit <= 0 || len(h.open) > maxOpen {
		return porcupine.Unknown // porcupine takes 0 for no limit
	}
	return porcupine.CheckOperationsTimeout(h.model(), operations, limit)
}

// history is what all calls of a device say together. It keeps the search short.
//
// A search that tries each order learns at the look that it has ended the device too early, or by the wrong decision.
// Before it changes that, it tries all orders of what followed: with n open calls these are more than 2 to the n. So a
// device ends only as it was seen last, an open call waits until the next answer depends on it, and the moment atEnd
// judges those that have waited until then.
type history struct {
	last     *row // as the device was seen last; nil where it was not
	putBacks int
	open     []Call
}

// operation is a call, and its place among the open ones where it is one. alike is the place of the last one that began
// before and does the same, which an order has first; -1 is none.
type operation struct {
	Call
	place, alike int
}

func (h history) lastAlike(c Call) int {
	for i, other := range slices.Backward(h.open) {
		if c.Kind == other.Kind && c.Version == other.Version && c.Answer == other.Answer && c.Early == other.Early &&
			(c.Kind != Resume || c.By == other.By) {
			return i
		}
	}
	return -1
}

// callSet is a set of open calls.
type callSet [maxOpen / 64]uint64

func (s *callSet) add(place int) { s[place/64] |= 1 << (place % 64) }

func (s *callSet) has(place int) bool { return s[place/64]&(1<<(place%64)) != 0 }

// standing is where a device stands in an order of calls, and where it stood in the copy of the database.
type standing struct {
	now, saved row
	putBacks   int
	ended      bool
	// done are the open calls that the order has.
	done callSet
	// reported is set where an open call, which could as well come at the end, has just moved the device on from before.
	reported bool
	before   row
}

func (h history) model() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{standing{now: row{State: runbook.StateAwaitingReconnect}}} },
		Step: func(state, input, _ any) (after []any) {
			for _, s := range h.step(state.(standing), input.(operation)) {
				after = append(after, s)
			}
			return after
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(input, _ any) string { return input.(operation).String() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
	return model.ToModel()
}

func (h history) step(s standing, c operation) (after []standing) {
	moved := s
	moved.before, moved.reported = row{}, false
	switch {
	case s.ended && c.open():
		return []standing{s} // atEnd has judged it
	case c.alike >= 0 && !s.done.has(c.alike):
		return nil
	case c.Kind == Save:
		moved.saved = s.now
	case c.Kind == PutBack:
		moved.now = s.saved
		moved.putBacks++
	case c.Kind == atEnd && !h.mayEnd(s):
		return nil
	case c.Kind == atEnd:
		moved.ended = true
	default:
		for _, to := range step(s.now, c.Call) {
			if !h.matters(s, c.Call, to) {
				continue
			}
			moved := moved
			moved.now = to
			if c.open() {
				moved.done.add(c.place)
				if h.ends() && to != s.now {
					moved.before, moved.reported = s.now, true
				}
			}
			after = append(after, moved)
		}
		return after
	}
	return []standing{moved}
}

// mayEnd reports whether everything may be at rest: the device is as it was seen last, and no open call that the order
// does not have would move it.
func (h history) mayEnd(s standing) bool {
	if h.last != nil && s.now != *h.last {
		return false
	}
	for i, c := range h.open {
		if !s.done.has(i) && !slices.Contains(step(s.now, c), s.now) {
			return false
		}
	}
	return true
}

// ends reports whether the device was seen last with an outcome. Each open call may come after that.
func (h history) ends() bool { return h.last != nil && !h.last.State.Open() }

// matters reports whether the search follows a call that leads to a row. Where there is an order of all calls, there is
// one that it follows to the end.
func (h history) matters(s standing, c Call, to row) bool {
	moves := to != s.now
	switch {
	case moves && !to.State.Open() && h.last != nil && s.putBacks == h.putBacks && to != *h.last:
		return false // no call moves it on
	case c.open() && !moves:
		return c.Answer == Stored && !c.Early && !h.ends() // the others may come at the end
	case s.reported && !moves:
		// The open call may come after this one, which changes nothing.
		return !slices.Contains(step(s.before, c), s.before)
	case s.reported:
		// Without the open call the device gets there as well.
		return !slices.Contains(step(s.before, c), to)
	}
	return true
}

// mends is how long the workflow of a device may be ahead of a database that was put back. Until then it takes a report
// that it has seen for one that the database has.
const mends = 2 * time.Minute

// afterLosses returns the calls of a device as they count after the losses among them. What Temporal kept is lost with
// its database. What was under way while the database was put back may be carried out twice, and a report that came
// shortly after may be taken for one that is known. What a workflow has yet to read when its restore is cancelled may
// not count, and what is asked until the restore is taken up again may be refused.
func afterLosses(calls []Call) []Call {
	after := slices.Clone(calls)
	for _, loss := range calls {
		for i, c := range calls {
			report := c.Kind == Report || c.Kind == Put
			switch {
			case loss.Kind == Forget && c.Answer == Stored && c.Start.Before(loss.End):
				after[i].Answer = Unknown
			case loss.Kind == Cancel && c.Start.Before(loss.End):
				after[i].Early = after[i].Early || c.open() || c.End.After(loss.Start)
			case loss.Kind != PutBack || c.Kind == Look || c.Via == harness:
			case report && c.Answer != Refused && c.Start.After(loss.Start) && c.Start.Before(loss.End.Add(mends)):
				after[i].Answer = Unknown
			case c.Answer != Refused && c.Start.Before(loss.End) && (c.Answer != Accepted || c.End.After(loss.Start)):
				c.Answer = Unknown
				after = append(after, c)
			}
		}
	}
	return slices.DeleteFunc(after, func(c Call) bool { return c.Kind == Forget || c.Kind == Cancel })
}
