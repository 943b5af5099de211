package simulator_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/simulator"
)

var all = simulator.Amount{Share: 1}

func TestASlowAgentTakesItsTime(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		w.gateway.render("web-7", 6)
		w.cfg.Scenario.Slow = simulator.Slow{Share: all, ApplySeconds: simulator.Range{From: 40, To: 60}}
		w.cfg.Pace = 0.5
		f := w.fleet()
		s := w.run(f, 19*time.Second, func() {
			require.Equal(t, int64(1), f.Summary().States[simulator.StateApplying])
			require.Zero(t, f.Summary().Applied)
		})
		require.Equal(t, int64(1), s.Applied)
	})
}

func TestAFailingAgentStaysAtItsVersionAndTriesAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		w.gateway.render("web-7", 6)
		w.cfg.Scenario.Failing = simulator.Failing{Share: all, Times: 2}
		s := w.run(w.fleet(), time.Minute)
		try, rolledBack := "status 5 Online Updating", "status 5 Error OutOfDate"
		require.Equal(t, []string{
			"poll 5", try, rolledBack, "poll 6", try, rolledBack, "poll 6", try, "status 6 Online UpToDate", "poll 6",
		}, w.gateway.story("web-7"), "it knows the version, and tries it again by itself")
		require.Equal(t, int64(2), s.Failed)
		require.Equal(t, int64(1), s.Applied)
	})
}

func TestAnAgentThatFailsEachTimeTriesEverLater(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		w.gateway.render("web-7", 6)
		w.cfg.Scenario.Failing = simulator.Failing{Share: all}
		s := w.run(w.fleet(), 30*time.Minute)
		require.Zero(t, s.Applied)
		require.Greater(t, s.Failed, int64(20))
		require.Less(t, s.Failed, int64(80))
	})
}

func TestARebootingAgentIsAwayMeanwhile(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		w.gateway.render("web-7", 6)
		w.cfg.Scenario.Rebooting = simulator.Rebooting{Share: all, AwaySeconds: simulator.Range{From: 10, To: 12}}
		s := w.run(w.fleet(), time.Minute)
		calls := w.gateway.calls("web-7")
		require.Equal(t, []string{
			"poll 5", "status 5 Online Updating", "status 5 Rebooting Updating", "status 6 Online UpToDate", "poll 6",
		}, w.gateway.story("web-7"))
		require.GreaterOrEqual(t, calls[3].at.Sub(calls[2].at), 10*time.Second)
		require.Equal(t, "first", at(calls[2].status, "systemInfo", "bootID"))
		require.NotEqual(t, "first", at(calls[3].status, "systemInfo", "bootID"))
		require.Equal(t, int64(1), s.Reboots)
	})
}

// TestAgentsThatLoseTheirConnectionSpeakForThemselvesAgain holds what makes a shared cache of TLS sessions wrong: one
// that is taken up again brings the certificate of whoever began it.
func TestAgentsThatLoseTheirConnectionSpeakForThemselvesAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for i := range 6 {
			w.device(fmt.Sprintf("web-%d", i), 5)
		}
		w.cfg.Scenario.Flaky = simulator.Flaky{
			Share: all, EverySeconds: simulator.Range{From: 5, To: 10},
			AwaySeconds: simulator.Range{From: 1, To: 3},
		}
		s := w.run(w.fleet(), 2*time.Minute)
		require.Empty(t, w.gateway.wrong)
		require.Greater(t, s.Outages, int64(6*8))
		require.Less(t, s.Outages, int64(6*20))
		require.Zero(t, s.Errors, s.LastError)
		require.Zero(t, s.Reports, "who is back polls, and has nothing new to say")
	})
}

// decisions are what each agent has decided, from a log without its times.
func decisions(t *testing.T, seed uint64, lasts time.Duration) map[string][]string {
	t.Helper()
	log := &lockedBuffer{}
	inWorld(t, func(w *world) {
		for i := range 40 {
			w.device(fmt.Sprintf("web-%d", i), 5)
			w.gateway.render(fmt.Sprintf("web-%d", i), 9)
		}
		w.cfg.Scenario, w.cfg.Seed = simulator.DefaultScenario(), seed
		w.cfg.Scenario.Fleet.Unknown = simulator.Amount{Count: 3}
		w.cfg.Logger = slog.New(slog.NewTextHandler(log,
			&slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
		w.run(w.fleet(), lasts)
	})
	made := map[string][]string{}
	for line := range strings.Lines(log.String()) {
		_, of, ok := strings.Cut(line, "device=")
		require.True(t, ok, line)
		device, _, _ := strings.Cut(strings.TrimSpace(of), " ")
		made[device] = append(made[device], line)
	}
	return made
}

func TestTheSameSeedMakesTheSameDecisions(t *testing.T) {
	t.Parallel()
	first := decisions(t, 11, 3*time.Minute)
	require.Len(t, first, 42, "one never comes back")
	require.Equal(t, first, decisions(t, 11, 3*time.Minute))
	require.NotEqual(t, first, decisions(t, 12, 3*time.Minute))
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}
