package board

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/inventory/overview"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func TestThePaceKnowsWhenNoEstimateCanBeMade(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pace    Pace
		awaited int64
		minute  float64
		left    time.Duration
		ok      bool
	}{
		"sixty in five minutes":   {Pace{60, 5 * time.Minute}, 24, 12, 2 * time.Minute, true},
		"a young restore":         {Pace{10, 30 * time.Second}, 10, 20, 30 * time.Second, true},
		"rounded up":              {Pace{3, time.Minute}, 1, 3, 20 * time.Second, true},
		"two answers are no rate": {Pace{2, time.Minute}, 10, 2, 0, false},
		"no answers":              {Pace{0, 5 * time.Minute}, 10, 0, 0, false},
		"none is awaited":         {Pace{60, 5 * time.Minute}, 0, 12, 0, false},
		"no time has passed":      {Pace{60, 0}, 10, 0, 0, false},
		"years are no estimate":   {Pace{3, 5 * time.Minute}, 1 << 40, 0.6, 0, false},
	} {
		left, ok := c.pace.Left(c.awaited)
		require.InDelta(t, c.minute, c.pace.PerMinute(), 0.01, name)
		require.Equal(t, c.left, left, name)
		require.Equal(t, c.ok, ok, name)
	}
}

// running is a restore of a hundred devices that has run for ten minutes.
func running(wait, paused, back, withdrawn int64) runbook.RestoreStatus {
	return runbook.RestoreStatus{
		RestoreID: "first", State: runbook.RestoreRunning, Mode: runbook.ModeStandalone,
		StartedAt: noon.Add(-10 * time.Minute),
		Total:     100,
		Counts: map[runbook.State]int64{
			runbook.StateAwaitingReconnect: wait, runbook.StateConflictPaused: paused,
			runbook.StateNormal: back, runbook.StateWithdrawn: withdrawn,
		},
	}
}

func waiting(name string, state runbook.State, ago time.Duration) inventory.Waiting {
	return inventory.Waiting{RollEntry: inventory.RollEntry{
		OrgID: runbook.DefaultOrgID, Name: name, Fleet: "web", State: state,
		Restored: "5", Reported: "7", Since: noon.Add(-ago),
	}}
}

func look(paused int64) overview.Overview {
	o := overview.Overview{Answered: 60, In: overview.Window, Undecided: paused, PendingRequests: 2}
	for i := range paused {
		d := waiting(fmt.Sprintf("web-%d", i), runbook.StateConflictPaused, time.Duration(i+1)*time.Second)
		o.Conflicts = append(o.Conflicts, d)
	}
	for i := range 20 {
		o.Longest = append(o.Longest, waiting(fmt.Sprintf("pump-%d", i), runbook.StateAwaitingReconnect, 10*time.Minute))
	}
	return o
}

func TestABoardSaysHowItGoesAndWhatToType(t *testing.T) {
	t.Parallel()
	b := New(noon, running(24, 3, 72, 1), look(3), "", "")
	var out bytes.Buffer
	require.NoError(t, b.Text(&out, 2))
	for _, want := range []string{
		"restore first: Running, started 10m ago\n",
		"100 devices = 24 wait + 3 paused + 72 back + 1 withdrawn\n",
		"[###############-----]  76% have answered, 12.0 a minute: all in about 2m\n",
		"newest conflicts (2 of 3):\n", "web-0", "waited longest (2 of 27):\n", "pump-1",
		"2 enrollment requests pending", "3 devices are paused and wait for a decision",
		"  starter describe device web-0\n  starter diff devices --all\n  starter plan resume devices --all\n",
		"  starter get enrollmentrequests\n  starter explain device pump-0\n",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "pump-2", "two rows a list")
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, len(strings.TrimSpace(line)), 80, line)
	}
	require.Equal(t, noon.Add(2*time.Minute), *b.AllAnswered)
	require.Contains(t, b.Line(), "100 devices: 24 wait, 3 paused, 72 back, 1 withdrawn; have answered, 12.0 a minute")

	lost := New(noon, running(24, 3, 70, 1), look(3), "", "")
	require.Contains(t, lost.sum(), "DOES NOT ADD UP")
}

func TestWhenAHumanIsNeeded(t *testing.T) {
	t.Parallel()
	require.Empty(t, New(noon, running(100, 0, 0, 0), look(0), "", "").NeedsHuman())
	one := New(noon, running(99, 1, 0, 0), look(1), "", "")
	require.Equal(t, "1 device is paused and waits for a decision", one.NeedsHuman())
	decided := look(1)
	decided.Undecided = 0
	require.Empty(t, New(noon, running(99, 1, 0, 0), decided, "", "").NeedsHuman(), "Flight Control carries it out")
	decided.HeldPlans = []string{"p1"}
	held := New(noon, running(99, 1, 0, 0), decided, "", "")
	require.Equal(t, "1 plan held (p1)", held.NeedsHuman())
	require.Equal(t, "starter plan show p1", held.Commands[0])
	ended := running(0, 1, 99, 0)
	ended.State = runbook.RestoreCancelled
	require.Empty(t, New(noon, ended, look(1), "", "").NeedsHuman())
}

// story is a roll call in boards, one for each look; a nil one is a database that does not answer.
func story(boards ...*Board) func(context.Context, string) (Board, error) {
	at := -1
	return func(_ context.Context, warning string) (Board, error) {
		if at < len(boards)-1 {
			at++
		}
		if boards[at] == nil {
			return Board{}, errors.New("connection refused")
		}
		b := *boards[at]
		b.Warning = warning
		return b, nil
	}
}

func at(after time.Duration, status runbook.RestoreStatus, paused int64) *Board {
	b := New(noon.Add(after), status, look(paused), "", "")
	return &b
}

func streams(out io.Writer, terminal bool) printer.IO {
	return printer.IO{
		Stdout: out, Now: time.Now, IsTerminal: func(io.Writer) bool { return terminal },
		Env:  func(string) (string, bool) { return "", false },
		Size: func(io.Writer) (int, int) { return 80, 24 },
	}
}

func completed() runbook.RestoreStatus {
	s := running(0, 0, 99, 1)
	s.State = runbook.RestoreCompleted
	return s
}

func TestElsewhereTheWatchIsALineForEachChange(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := Follow{IO: streams(&out, false), Every: time.Millisecond, Read: story(
		at(0, running(100, 0, 0, 0), 0), at(time.Second, running(99, 1, 0, 0), 1), nil,
		at(2*time.Second, running(98, 1, 1, 0), 1),
		at(4*time.Second, running(97, 1, 2, 0), 1), at(8*time.Second, running(97, 1, 2, 0), 1),
		at(9*time.Second, completed(), 0),
	)}
	last, human, err := f.Run(t.Context())
	require.NoError(t, err)
	require.Empty(t, human)
	require.Equal(t, runbook.RestoreCompleted, last.State)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3, "not more often than every three seconds, and the last one: %s", out.String())
	require.Contains(t, lines[0], "100 wait")
	require.Contains(t, lines[1], "97 wait")
	require.Contains(t, lines[2], "0 wait, 0 paused, 99 back, 1 withdrawn; completed")
	require.NotContains(t, out.String(), "\x1b")
}

func TestTheWatchEndsWhenAHumanIsNeeded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := Follow{IO: streams(&out, false), Every: time.Millisecond, JSON: true, UntilHuman: true, Read: story(
		at(0, running(100, 0, 0, 0), 0), at(time.Second, running(99, 1, 0, 0), 1), at(time.Second, completed(), 0))}
	_, human, err := f.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "1 device is paused and waits for a decision", human)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	var b Board
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &b))
	require.EqualValues(t, 1, b.Undecided)
	require.Equal(t, "web-0", b.Conflicts[0].Name)
	require.Equal(t, "first", b.RestoreID)

	// What stands still needs a human as well, once it has done so for a while.
	clock := noon
	f = Follow{
		IO: streams(io.Discard, false), Every: time.Millisecond, UntilHuman: true,
		Read: story(at(0, running(100, 0, 0, 0), 0)),
		Warn: func(context.Context) string { return "no worker" },
	}
	f.IO.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
	_, human, err = f.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "no worker", human)
	require.GreaterOrEqual(t, clock.Sub(noon), warnInterval)
}

func TestOnATerminalTheWatchIsOneScreen(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	read := story(at(0, running(97, 3, 0, 0), 3), at(time.Second, completed(), 0))
	f := Follow{IO: streams(&out, true), Every: time.Millisecond, Read: read}
	_, _, err := f.Run(t.Context())
	require.NoError(t, err)
	text := out.String()
	require.Equal(t, 1, strings.Count(text, "\x1b[?1049h"), "one screen")
	require.Contains(t, text, "\x1b[?1049l")
	first, rest, _ := strings.Cut(text, "\x1b[J")
	require.LessOrEqual(t, strings.Count(first, "\r\n"), 23, "it fits: %s", first)
	require.Contains(t, first, "starter explain device pump-0", "and its commands are all there")
	require.Contains(t, first, "Ctrl-C ends the watch")
	require.Contains(t, rest, "restore first: Completed")
	require.True(t, strings.HasSuffix(text, "2 enrollment requests pending\n"), "the last one stays: %q", text)
}

func TestADatabaseThatStaysAwayEndsTheWatch(t *testing.T) {
	t.Parallel()
	clock := noon
	f := Follow{IO: streams(io.Discard, false), Every: time.Millisecond, Read: story(nil)}
	f.IO.Now = func() time.Time { clock = clock.Add(10 * time.Second); return clock }
	_, _, err := f.Run(t.Context())
	require.ErrorContains(t, err, "it cannot be watched: connection refused")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = f.Run(ctx)
	require.NoError(t, err, "Ctrl-C is no error")
}
