package main

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
	streams := testIO(nil, &stderr, nil)
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	streams.Now = func() time.Time { return now }
	p := newProgress(streams)
	p.show(runbook.RestoreStatus{State: runbook.RestoreRunning, Counts: runbook.NewCounts()})
	require.Empty(t, stderr.String(), "an empty roll is not yet a tally")
	for back := range int64(5) {
		p.show(tallyOf(4, back))
		p.show(tallyOf(4, back))
		now = now.Add(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	require.Len(t, lines, 2, "no more often than every %s: %s", lineInterval, stderr.String())
	require.Contains(t, lines[1], "1 wait, 0 paused, 3 back")
	p.close()
	require.Contains(t, stderr.String(), "0 wait, 0 paused, 4 back", "what was held back is said at the end")
}

func TestProgressForAPersonIsABar(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	streams := testIO(nil, &stderr, nil)
	streams.IsTerminal = func(w io.Writer) bool { return w == &stderr }
	p := newProgress(streams)
	p.show(tallyOf(4, 1))
	p.show(tallyOf(4, 4))
	p.close()
	require.Contains(t, stderr.String(), "4/4")
	require.True(t, strings.HasSuffix(stderr.String(), "\n"))

	stderr.Reset()
	m := newMeter(streams, meterFrom)
	m.step()
	m.close()
	require.Contains(t, stderr.String(), "1/10")
	stderr.Reset()
	few := newMeter(streams, meterFrom-1)
	few.step()
	few.close()
	require.Empty(t, stderr.String(), "a few are done before a bar is drawn")
}
