package simulator_test

import (
	"net/http"
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
			"status 5 Online UpToDate", "poll 5",
			"status 5 Online Updating", "status 9 Online UpToDate", "poll 9",
		}, w.gateway.story("web-7"))
		calls := w.gateway.calls("web-7")
		require.GreaterOrEqual(t, calls[3].at.Sub(calls[2].at), 3*time.Second)
		require.Equal(t, true, calls[3].status["acme"].(map[string]any)["kept"], "what it does not know it repeats")
		require.Equal(t, "registry.example.com/os:2", at(calls[3].status, "os", "image"))
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
		require.Equal(t, int64(3), s.Reports, "between two polls it reports its status")
	})
}

func TestAnAgentThatIsToldToWaitWaits(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"poll", "status"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.device("web-7", 5)
				w.device("web-8", 5)
				w.gateway.answer = func(c call, to http.ResponseWriter) bool {
					if c.what == what {
						to.Header().Set("Retry-After", "20")
						to.WriteHeader(http.StatusServiceUnavailable)
					}
					return c.what == what
				}
				s := w.run(w.fleet(), time.Minute)
				var waits []time.Duration
				for _, name := range []string{"web-7", "web-8"} {
					var before time.Time
					for _, c := range w.gateway.calls(name) {
						if c.what != what {
							continue
						}
						if !before.IsZero() {
							waits = append(waits, c.at.Sub(before))
							require.GreaterOrEqual(t, waits[len(waits)-1], 20*time.Second)
							require.Less(t, waits[len(waits)-1], 31*time.Second)
						}
						before = c.at
					}
				}
				require.GreaterOrEqual(t, len(waits), 2)
				require.NotEqual(t, waits[0], waits[len(waits)-1], "they do not all come at once")
				require.Zero(t, s.Errors)
				require.Contains(t, s.LastError, "503")
				require.GreaterOrEqual(t, s.Retries, int64(4))
			})
		})
	}
}

func TestAnAgentTriesEverLaterWhereNobodyAnswers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		w.pipes.away.Store(true)
		s := w.run(w.fleet(), 10*time.Minute)
		require.Zero(t, s.Back)
		require.Greater(t, s.Retries, int64(10))
		require.Less(t, s.Retries, int64(40))
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
			serve(to, "web-7", map[string]string{"device-controller/renderedVersion": "9", "device-controller/conflictPaused": "true"})
			return true
		}
		s := w.run(w.fleet(), 30*time.Second)
		require.Equal(t, []string{"status 5 Online UpToDate", "poll 5", "status 5 Online UpToDate", "poll 5"}, w.gateway.story("web-7"))
		require.Equal(t, int64(1), s.Conflicts)
		require.Zero(t, s.Applied, "a paused device applies nothing")
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
		require.Equal(t, []string{"status 007 Online UpToDate", "poll 007"}, story[:2])
		require.Equal(t, []string{"status 7 Online UpToDate", "poll 7", "status 7 Online UpToDate", "poll 7"}, story[len(story)-4:])
		require.Equal(t, []string{"status  Online UpToDate", "poll "}, w.gateway.story("late")[:2])
		require.Empty(t, w.gateway.story("not-named"))
		require.Greater(t, s.Refused, int64(1))
		require.Zero(t, s.Errors, "a refusal is none")
		require.Equal(t, map[simulator.Fate]int{simulator.Named: 1, simulator.Straggler: 1, simulator.NeverBack: 1}, s.Fates)
	})
}
