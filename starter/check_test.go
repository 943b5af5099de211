package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/internal/preflight"
)

func TestCheckReportsAndFailsOnlyForWhatWouldStopARollCall(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	o := b.run("check")
	require.Zero(t, o.code, o.stdout+o.stderr)
	require.Contains(t, o.stdout, "mode standalone")
	require.Contains(t, o.stdout, "what to do:\n")
	require.Contains(t, o.stdout, "no worker polls the task queue")

	var report preflight.Report
	b.run("check", "-o", "json").json(t, &report)
	require.Equal(t, preflight.SubjectDatabase, report.Findings[0].Subject)
	require.Equal(t, flightctl.OK, report.Findings[0].Level)
}

func TestCheckWithoutAnythingSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := runBare(t, "check")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stdout, "FAILED")
	require.Contains(t, o.stdout, "ROLLCALL_DATABASE_URL")
	require.Contains(t, o.stderr, "a roll call would stop")
}
