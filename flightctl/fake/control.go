package fake

import (
	"context"
	"net/http"

	"github.com/alicebob/miniredis/v2"
)

// Point is a place at which the API server can be made to die.
type Point string

// The points. What comes before a point is done and stays, what comes after it is not done, and the caller gets no
// answer.
const (
	// ResumeAfterStatement is between the statement that removes the annotations and the events: nothing is rendered, and
	// a repeat resumes 0.
	ResumeAfterStatement Point = "resume/after-statement"
	// ResumeAfterEvent is between an event in the table and the same event in the queue: nothing is rendered.
	ResumeAfterEvent Point = "resume/after-event"
	// ResumeAfterAll is after everything but the answer.
	ResumeAfterAll Point = "resume/after-all"
	// ApproveAfterDevice is between the device and the approval: the device has no certificate, and a repeat is a 500.
	ApproveAfterDevice Point = "approve/after-device"
	// ApproveAfterAll is after everything but the answer.
	ApproveAfterAll Point = "approve/after-all"
	// PollAfterStatement is between T2 or T3 and the removal of the key.
	PollAfterStatement Point = "poll/after-statement"
)

// Kill makes the next n requests that come to a point die there.
func (f *FlightControl) Kill(at Point, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kills[at] = n
}

// Do makes the next request that comes to a point run do there, with its context, before it goes on.
func (f *FlightControl) Do(at Point, do func(ctx context.Context)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.does[at] = do
}

// at runs what it was told to, and dies where it was told to.
func (f *FlightControl) at(ctx context.Context, point Point) {
	f.mu.Lock()
	do := f.does[point]
	delete(f.does, point)
	dies := f.kills[point] > 0
	if dies {
		f.kills[point]--
	}
	f.mu.Unlock()
	if do != nil {
		do(ctx)
	}
	if dies {
		f.log.Info("dies", "point", string(point))
		panic(http.ErrAbortHandler) // net/http closes the connection without an answer
	}
}

// renderFailure is why a spec cannot be rendered.
type renderFailure struct {
	message   string
	permanent bool
}

// FailRender makes each rendering of a device fail with this message, as where a repository cannot be read. One that is
// permanent, such as a kind of application that is not known, is not tried again for the same spec: the real one's
// markPermanentRenderFailure notes the hash of the spec as rendered. An empty message ends the failures.
func (f *FlightControl) FailRender(device, message string, permanent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unrenderable[device] = renderFailure{message, permanent}
	if message == "" {
		delete(f.unrenderable, device)
	}
}

// SetUser says whose token is accepted, and which role that user has. Any other token is a 401.
func (f *FlightControl) SetUser(token, name, role string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token, f.name, f.role = token, name, role
}

// SetOrganizations says of which organisations the user is a member: by default of all that there are.
func (f *FlightControl) SetOrganizations(ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.memberOf = append([]string{}, ids...)
}

// LoseStore forgets all that the key-value store holds, as a restart without a disk does.
func (f *FlightControl) LoseStore() { f.kv.FlushAll() }

// StopStore takes the key-value store away, with what it holds.
func (f *FlightControl) StopStore() {
	f.kv.FlushAll()
	f.kv.Close()
}

// StartStore brings the store back, at the same address and empty.
func (f *FlightControl) StartStore() error { return f.kv.Restart() }

// Store is the key-value store itself.
func (f *FlightControl) Store() *miniredis.Miniredis { return f.kv }

// PauseWorker stops or starts the worker, which renders.
func (f *FlightControl) PauseWorker(paused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = paused
}

// Calls is how often a call of the user API was made, by method and pattern, such as "POST
// /api/v1/deviceactions/resume". Those that met the limit are under "429".
func (f *FlightControl) Calls() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := map[string]int{}
	for pattern, n := range f.calls {
		calls[pattern] = n
	}
	return calls
}

func (f *FlightControl) count(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[call]++
}

// Held is how many polls are held.
func (f *FlightControl) Held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.polls)
}
