package simulator_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/simulator"
)

func TestAnAgentAppliesWhatIsNewerThanWhatItRuns(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		w.cfg.Scenario.ApplySeconds = simulator.Range{From: 3, To: 3}
		s := w.run(w.fleet(), 30*time.Second, func() { w.gateway.render("web-7", 9) })
		require.Equal(t, []string{
			"poll 5", "status 5 Online Updating", "status 9 Online UpToDate", "poll 9",
		}, w.gateway.story("web-7"))
		calls := w.gateway.calls("web-7")
		require.GreaterOrEqual(t, calls[2].at.Sub(calls[1].at), 3*time.Second)
		require.Equal(t, true, calls[2].status["acme"].(map[string]any)["kept"], "what it does not know it repeats")
		require.Equal(t, "registry.example.com/os:2", at(calls[2].status, "os", "image"))
		require.Equal(t, int64(1), s.Applied)
		require.Equal(t, int64(1), s.Back)
		require.Equal(t, int64(1), s.States[simulator.StatePolling])
	})
}

func TestAVersionThatIsNotNewerIsIgnoredAndMakesNoBusyLoop(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter){
		"an older one": func(w http.ResponseWriter) {
			serve(w, "web-7", map[string]string{"device-controller/renderedVersion": "4"})
		},
		"its own": func(w http.ResponseWriter) {
			serve(w, "web-7", map[string]string{"device-controller/renderedVersion": "5"})
		},
		"nothing new (204)": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		"nothing new (409)": func(w http.ResponseWriter) { w.WriteHeader(http.StatusConflict) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.device("web-7", 5)
				w.gateway.answer = func(c call, to http.ResponseWriter) bool {
					if c.what == "poll" {
						answer(to)
					}
					return c.what == "poll"
				}
				s := w.run(w.fleet(), 30*time.Second)
				require.Zero(t, s.Applied)
				require.InDelta(t, 30, s.Polls, 2)
				require.Zero(t, s.Errors)
			})
		})
	}
}

func TestAPollIsGivenUpAfterFourMinutes(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		hold := make(chan struct{})
		defer close(hold)
		w.gateway.answer = func(c call, _ http.ResponseWriter) bool {
			if c.what == "poll" {
				<-hold
			}
			return false
		}
		s := w.run(w.fleet(), 9*time.Minute)
		require.Equal(t, int64(3), s.Polls)
		require.Zero(t, s.Errors)
		require.Zero(t, s.Reports, "nothing has changed")
	})
}

func TestAnAgentTriesEverLaterWithoutAnswer(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		w.pipes.away.Store(true)
		s := w.run(w.fleet(), 10*time.Minute)
		require.Zero(t, s.Back)
		require.Greater(t, s.Retries, int64(10))
		require.Less(t, s.Retries, int64(40), "as fast as in a demo")
		require.Contains(t, s.LastError, "connection refused")
	})
}

func TestAPausedDeviceReportsItsFullStatusAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		first := true
		w.gateway.answer = func(c call, to http.ResponseWriter) bool {
			if c.what != "poll" || !first {
				return false
			}
			first = false
			serve(to, "web-7", map[string]string{
				"device-controller/renderedVersion": "5",
				"device-controller/conflictPaused":  "true",
			})
			return true
		}
		s := w.run(w.fleet(), 30*time.Second)
		story := w.gateway.story("web-7")
		require.Equal(t, "poll 5", story[0])
		require.Equal(t, 1, strings.Count(strings.Join(story, ","), "status 5 Online UpToDate"), "%s", story)
		require.Equal(t, int64(1), s.Conflicts)
	})
}

func TestADeviceReportsWhatTheScenarioSays(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.gateway.render("web-7", 5)
		w.gateway.render("late", 5)
		w.cfg.Scenario = simulator.Scenario{
			Reports: []simulator.Report{
				{Device: "web-7", AfterSeconds: 2, RenderedVersion: "007"},
				{Device: "web-7", AfterSeconds: 20, RenderedVersion: "7"},
				{Device: "web-7", AfterSeconds: 30, RenderedVersion: "7"},
			},
			Stragglers: []simulator.Report{{Device: "late", RenderedVersion: ""}},
		}
		w.cfg.Devices = []simulator.Device{{Name: "web-7"}, {Name: "late"}, {Name: "not-named"}}
		f := w.fleet()
		s := w.run(f, 50*time.Second, func() {
			require.Empty(t, w.gateway.story("late"), "a straggler waits until it is called")
			f.CallStragglers()
		})
		story := w.gateway.story("web-7")
		require.Equal(t, []string{"poll 007", "poll 007"}, story[:2])
		require.Equal(t, []string{"status 7 Online UpToDate", "poll 7", "poll 7"}, story[len(story)-3:])
		require.Equal(t, "poll ", w.gateway.story("late")[0])
		require.Empty(t, w.gateway.story("not-named"))
		require.Greater(t, s.Refused, int64(1))
		require.Zero(t, s.Errors, "a refusal is none: %s", s.LastError)
		require.Equal(t, map[simulator.Fate]int{simulator.Named: 1, simulator.Straggler: 1, simulator.NeverBack: 1}, s.Fates)
	})
}
