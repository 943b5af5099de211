package printer

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func tallyOf(total, back int64) runbook.RestoreStatus {
	counts := runbook.NewCounts()
	counts[runbook.StateNormal], counts[runbook.StateAwaitingReconnect] = back, total-back
	return runbook.RestoreStatus{RestoreID: "first", State: runbook.RestoreRunning, Total: total, Counts: counts}
}

func TestProgressInLinesIsQuietAndEndsWithTheLastWord(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	streams := IO{Stderr: &stderr, IsTerminal: func(io.Writer) bool { return false }}
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	streams.Now = func() time.Time { return now }
	p := NewProgress(streams)
	p.Show(runbook.RestoreStatus{State: runbook.RestoreRunning, Counts: runbook.NewCounts()})
	require.Empty(t, stderr.String(), "an empty roll is not yet a tally")
	for back := range int64(5) {
		p.Show(tallyOf(4, back))
		p.Show(tallyOf(4, back))
		now = now.Add(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	require.Len(t, lines, 2, "no more often than every %s: %s", LineInterval, stderr.String())
	require.Contains(t, lines[1], "1 wait, 0 paused, 3 back")
	p.Close()
	require.Contains(t, stderr.String(), "0 wait, 0 paused, 4 back", "what was held back is said at the end")
}

func TestProgressForAPersonIsABar(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	streams := IO{Stderr: &stderr, IsTerminal: func(io.Writer) bool { return false }}
	streams.IsTerminal = func(w io.Writer) bool { return w == &stderr }
	p := NewProgress(streams)
	p.Show(tallyOf(4, 1))
	p.Show(tallyOf(4, 4))
	p.Close()
	require.Contains(t, stderr.String(), "4/4")
	require.True(t, strings.HasSuffix(stderr.String(), "\n"))

	stderr.Reset()
	m := NewMeter(streams, meterFrom)
	m.Step()
	m.Close()
	require.Contains(t, stderr.String(), "1/10")
	stderr.Reset()
	few := NewMeter(streams, meterFrom-1)
	few.Step()
	few.Close()
	require.Empty(t, stderr.String(), "a few are done before a bar is drawn")
}
