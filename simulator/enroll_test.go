package simulator_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/simulator"
)

// enrolling waits until that many requests are there, and returns their names.
func (g *gateway) enrolling(n int) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for name := range g.requests {
		names = append(names, name)
	}
	require.Len(g.w.t, names, n)
	slices.Sort(names)
	return names
}

func TestAnAgentWhoseDeviceIsNotThereEnrollsAnew(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		// Given a device that was restored away,
		w.cfg.Devices = []simulator.Device{{Name: "web-7", Restored: "5"}}
		var name string
		f := w.fleet()
		s := w.run(f, time.Minute, func() {
			require.Equal(t, []string{"poll 5"}, w.gateway.story("web-7"))
			require.Equal(t, int64(1), f.Summary().States[simulator.StateEnrolling])
			// when its request is approved,
			name = w.gateway.enrolling(1)[0]
			require.Len(t, name, 52, "the name is its key's")
			w.gateway.approve(name)
		})
		// then it is a device again, and runs what it ran.
		story := w.gateway.story(name)
		require.Equal(t, "enroll 5", story[0])
		require.Equal(t, []string{"status 5 Online UpToDate", "poll 5"}, story[len(story)-2:])
		require.Equal(t, int64(1), s.Wiped)
		require.Equal(t, int64(1), s.Enrolled)
		require.Zero(t, s.Errors, s.LastError)
		require.Empty(t, w.gateway.wrong)
	})
}

func TestAnAgentThatIsLostAgainKeepsItsName(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.cfg.Devices = []simulator.Device{{Name: "web-7", Restored: "5"}}
		var name string
		s := w.run(w.fleet(), time.Minute, func() {
			name = w.gateway.enrolling(1)[0]
			w.gateway.approve(name)
		}, func() {
			w.gateway.mu.Lock()
			delete(w.gateway.rendered, name)
			delete(w.gateway.requests, name)
			w.gateway.mu.Unlock()
			w.gateway.render("another", 1) // it wakes the poll
		})
		require.Equal(t, []string{name}, w.gateway.enrolling(1))
		require.Equal(t, int64(2), s.Wiped)
	})
}

func TestAgentsTheServiceDoesNotKnowEnroll(t *testing.T) {
	t.Parallel()
	var names [][]string
	for range 2 {
		inWorld(t, func(w *world) {
			w.cfg.Extra, w.cfg.Seed = 6, 3
			f := w.fleet()
			s := w.run(f, time.Minute, func() {
				requests := w.gateway.enrolling(6)
				names = append(names, requests)
				w.gateway.approve(requests[0])
				w.gateway.deny(requests[1])
			})
			var running int64
			for _, p := range f.Plans() {
				if p.Reports[0].RenderedVersion != "0" {
					running++
				}
			}
			require.NotZero(t, running)
			require.Less(t, running, int64(6))
			require.Equal(t, running, s.Wiped, "who runs something had a certificate, and is told that it is not there")
			require.Equal(t, int64(1), s.States[simulator.StateDenied])
			require.Equal(t, int64(1), s.Enrolled)
			require.Equal(t, int64(4), s.States[simulator.StateEnrolling])
			require.Zero(t, s.Errors, s.LastError)
			denied := w.gateway.calls(names[len(names)-1][1])
			require.Less(t, denied[len(denied)-1].at.Sub(denied[0].at), 70*time.Second, "a denied agent gives up")
		})
	}
	require.Equal(t, names[0], names[1], "the same seed makes the same keys")
}

func TestARequestWithoutConditionsIsAnError(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.cfg.Extra = 1
		w.gateway.answer = func(c call, to http.ResponseWriter) bool {
			if c.what == "look" {
				to.Header().Set("Content-Type", "application/json")
				_, _ = to.Write([]byte(`{"status":{}}`))
			}
			return c.what == "look"
		}
		s := w.run(w.fleet(), time.Minute)
		require.Greater(t, s.Errors, int64(2))
		require.Contains(t, s.LastError, "status.conditions is missing")
	})
}

func TestARequestThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.cfg.Extra, w.cfg.Seed = 1, 1
		w.run(w.fleet(), time.Minute, func() {
			w.gateway.mu.Lock()
			defer w.gateway.mu.Unlock()
			clear(w.gateway.requests)
		})
		w.gateway.enrolling(1)
	})
}
