package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/starter/printer"
)

func TestDemoPlayedToTheEndAccountsForEveryDevice(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	examples, err := filepath.Abs("../examples")
	require.NoError(t, err)
	out := runProgram(t, dir, "dev", "--demo", examples, "--until-done")
	var tally []string
	for line := range strings.Lines(out) {
		tally = append(tally, strings.Join(strings.Fields(line), " "))
	}
	require.Subset(t, tally, []string{
		"AwaitingReconnect 0", "ConflictPaused 0", "Normal 59", "Withdrawn 1", "total 60",
		"all 60 devices are accounted for", "59 of 59 devices that came back run what was rendered for them",
	}, out)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "the demo left files behind")
}

// TestTheDemoBesideAFakeFlightControl plays the same night where Flight Control compares versions and renders. It reads
// versions otherwise than the gateway: "0012" is 12, and "v14" is 0, past which it renders nothing, so that this device
// is decommissioned.
func TestTheDemoBesideAFakeFlightControl(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	examples, err := filepath.Abs("../examples")
	require.NoError(t, err)
	out := runProgram(t, dir, "dev", "--demo", examples, "--until-done", "--flightctl-fake")
	var tally []string
	for line := range strings.Lines(out) {
		tally = append(tally, strings.Join(strings.Fields(line), " "))
	}
	require.Subset(t, tally, []string{
		"AwaitingReconnect 0", "ConflictPaused 0", "Normal 58", "Withdrawn 2", "total 60", "all 60 devices are accounted for",
	}, out)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "the demo left files behind")
}

func TestDemoFailsWhenADeviceIsUnaccountedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ reports, complaint string }{
		"whose report is never accepted": {
			"reports: [{device: web-1, renderedVersion: '5'}, {device: web-2, renderedVersion: '007'}]",
			`device "web-2" is unaccounted for: it is AwaitingReconnect; what it sent last was refused: rendered version "007" is not a version`,
		},
		"that no one may resume": {
			"reports: [{device: web-1, renderedVersion: '5'}, {device: web-2, renderedVersion: '9223372036854775807'}]",
			`device "web-2" was not resumed`,
		},
		"that is not there": {
			"reports: [{device: web-3, renderedVersion: '5'}]",
			"speaks of devices that are not in the database: [web-3]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := passableDir(t)
			cmd := program(t, dir, "dev", "--demo", writeDemo(t, c.reports, "5", "5"), "--until-done")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			require.Error(t, cmd.Run())
			require.Equal(t, printer.ExitFailed, cmd.ProcessState.ExitCode(), &stderr)
			require.Contains(t, stderr.String(), c.complaint)
			require.NotContains(t, stderr.String(), `device "web-1"`)
		})
	}
}

// writeDemo writes a demo of devices web-1, web-2 ... with these restored versions, and these reports.
func writeDemo(t *testing.T, reports string, restored ...string) string {
	t.Helper()
	dir := t.TempDir()
	var fleet strings.Builder
	for i, version := range restored {
		fmt.Fprintf(&fleet, "---\napiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata:\n  name: web-%d\n  "+
			"annotations: {device-controller/renderedVersion: %q}\n", i+1, version)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(fleet.String()), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "reports.yaml"), []byte(reports), 0o600))
	return dir
}
