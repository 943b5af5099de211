package simulator

import (
	"sync"
	"sync/atomic"
	"time"
)

// State is what an agent is doing.
type State string

// The states of an agent.
const (
	StateAway         State = "away"         // it has not come back yet
	StateConnecting   State = "connecting"   // it is back, or says something other than a poll
	StatePolling      State = "polling"      // it has a poll open, or pauses between two
	StateApplying     State = "applying"     // it applies a version
	StateRebooting    State = "rebooting"    // it reboots into one
	StateDisconnected State = "disconnected" // it has lost its connection
	StateRetrying     State = "retrying"     // it waits after a failure
	StateEnrolling    State = "enrolling"    // it asks to be let in
	StateDenied       State = "denied"       // it was not let in, and has given up
	StateEnded        State = "ended"        // the fleet has ended
)

var states = []State{
	StateAway, StateConnecting, StatePolling, StateApplying, StateRebooting, StateDisconnected, StateRetrying,
	StateEnrolling, StateDenied, StateEnded,
}

// Summary is how a fleet stands.
type Summary struct {
	Gateway string  `json:"gateway"`
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"seconds"`
	// Agents is how many there are, also by their fate and by what they are doing; those that never come back do nothing.
	Agents int             `json:"agents"`
	Fates  map[Fate]int    `json:"fates"`
	States map[State]int64 `json:"states"`
	// Back is how many the service has heard: they have sent a request and were not turned away.
	Back int64 `json:"back"`
	// Polls were begun, and Served those that brought a newer version; Nothing were answered 204 or 409.
	Polls   int64 `json:"polls"`
	Served  int64 `json:"served"`
	Nothing int64 `json:"nothingNew"`
	// Reports are statuses that were taken. Applied and Failed are versions.
	Reports int64 `json:"reports"`
	Applied int64 `json:"applied"`
	Failed  int64 `json:"failed"`
	// Refused are requests that were answered 400, as those with a version that is none are. Conflicts are devices that
	// were served with the annotation of a pause.
	Refused   int64 `json:"refused"`
	Conflicts int64 `json:"conflicts"`
	// Wiped are certificates thrown away after a 404, and Enrolled agents that were let in.
	Wiped int64 `json:"wiped"`
	// Renewed are certificates that agents had renewed.
	Renewed  int64 `json:"renewed"`
	Enrolled int64 `json:"enrolled"`
	Outages  int64 `json:"outages"`
	Reboots  int64 `json:"reboots"`
	// Retries were made after a failure; Errors are failures that are no 400, 429 or 503. LastError is the last of all
	// failures.
	Retries   int64  `json:"retries"`
	Errors    int64  `json:"errors"`
	LastError string `json:"lastError,omitempty"`
}

type counts struct {
	back, polls, served, nothing, reports, applied, failed, refused, conflicts atomic.Int64
	wiped, renewed, enrolled, outages, reboots, retries, errors                atomic.Int64

	mu        sync.Mutex
	states    map[State]int64
	lastError string
}

// move counts an agent that goes from one state to another; the empty one is none.
func (c *counts) move(from, to State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if from != "" {
		c.states[from]--
	}
	c.states[to]++
}

func (c *counts) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastError = err.Error()
}

// Summary is how the fleet stands now. It may be called at any time.
func (f *Fleet) Summary() Summary {
	c := &f.counts
	s := Summary{
		Gateway: f.base, Seed: f.cfg.Seed, Agents: len(f.plans), Fates: map[Fate]int{}, States: map[State]int64{},
		Back: c.back.Load(), Polls: c.polls.Load(), Served: c.served.Load(), Nothing: c.nothing.Load(),
		Reports: c.reports.Load(), Applied: c.applied.Load(), Failed: c.failed.Load(),
		Refused: c.refused.Load(), Conflicts: c.conflicts.Load(), Wiped: c.wiped.Load(),
		Renewed: c.renewed.Load(), Enrolled: c.enrolled.Load(),
		Outages: c.outages.Load(), Reboots: c.reboots.Load(), Retries: c.retries.Load(), Errors: c.errors.Load(),
	}
	for _, p := range f.plans {
		s.Fates[p.Fate]++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, state := range states {
		if n := c.states[state]; n > 0 {
			s.States[state] = n
		}
	}
	s.LastError = c.lastError
	if !f.began.IsZero() {
		s.Seconds = time.Since(f.began).Seconds()
	}
	return s
}
