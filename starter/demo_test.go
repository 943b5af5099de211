package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestDemoPlayedToTheEndAccountsForEveryDevice(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	examples, err := filepath.Abs(exampleDir)
	require.NoError(t, err)
	out := runProgram(t, dir, "dev", "--demo", examples, "--until-done")
	var tally []string
	for line := range strings.Lines(out) {
		tally = append(tally, strings.Join(strings.Fields(line), " "))
	}
	require.Subset(t, tally, []string{"AwaitingReconnect 0", "ConflictPaused 0", "Normal 59", "Withdrawn 1", "total 60", "all 60 devices are accounted for", "59 of 59 devices that came back run what was rendered for them"}, out)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "the demo left files behind")
}

// demoOf writes a demo of devices web-1, web-2 ... with these restored versions, and these reports.
func demoOf(t *testing.T, reports string, restored ...string) string {
	t.Helper()
	dir := t.TempDir()
	var fleet strings.Builder
	for i, version := range restored {
		fmt.Fprintf(&fleet, "---\napiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata:\n  name: web-%d\n  annotations: {device-controller/renderedVersion: %q}\n", i+1, version)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, demoFleetFile), []byte(fleet.String()), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, demoReportsFile), []byte(reports), 0o600))
	return dir
}

func TestDemoFailsWhenADeviceIsUnaccountedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ reports, complaint string }{
		"whose report is never accepted": {
			"reports: [{device: web-1, renderedVersion: '5'}, {device: web-2, renderedVersion: '007'}]",
			`device "web-2" is unaccounted for: it is AwaitingReconnect; what it sent last was refused: rendered version "007" is not a version`,
		},
		"that nobody may resume": {
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
			cmd := program(t, dir, "dev", "--demo", demoOf(t, c.reports, "5", "5"), "--until-done")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			require.Error(t, cmd.Run())
			require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), &stderr)
			require.Contains(t, stderr.String(), c.complaint)
			require.NotContains(t, stderr.String(), `device "web-1"`)
		})
	}
}

// demoOnDatabase is a demo without servers, on a database in which the devices are imported.
func demoOnDatabase(t *testing.T, devices int) *demo {
	t.Helper()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	streams := SystemIO()
	streams.Stderr = &bytes.Buffer{}
	restored := make([]string, devices)
	for i := range restored {
		restored[i] = "5"
	}
	d := &demo{io: streams, dir: demoOf(t, "", restored...), store: store, restore: &watch{id: "night"}}
	require.NoError(t, d.prepare(t.Context()))
	return d
}

// roll opens restore "night" and puts the fleet on its roll.
func (d *demo) roll(t *testing.T) {
	t.Helper()
	_, err := d.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "night", By: "alice"})
	require.NoError(t, err)
	_, err = d.store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "night"})
	require.NoError(t, err)
	_, err = d.store.FinishRoll(t.Context(), "night")
	require.NoError(t, err)
}

func (d *demo) reconnect(t *testing.T, device string) {
	t.Helper()
	done, err := d.store.Reconnect(t.Context(), inventory.ReconnectInput{
		RestoreID: "night", OrgID: runbook.DefaultOrgID, Name: device, Restored: "5", Reported: "5", RequestID: "report-" + device,
	})
	require.NoError(t, err)
	require.True(t, done.Applied)
}

func TestVerdictNamesWhoIsUnaccountedFor(t *testing.T) {
	t.Parallel()
	d := demoOnDatabase(t, 2)
	d.roll(t)
	d.reconnect(t, "web-1")
	// One that was eligible and that the restore has missed.
	d.eligible = append(d.eligible, "web-3")
	status, err := d.store.RestoreStatus(t.Context(), "night")
	require.NoError(t, err)
	result := status
	result.Counts = map[runbook.State]int64{runbook.StateNormal: 2}

	err = d.verdict(t.Context(), result)
	require.ErrorContains(t, err, "restore night is Running, not Completed")
	require.ErrorContains(t, err, "1 device still wait")
	require.ErrorContains(t, err, "2 devices on the roll, but 3 were eligible")
	require.ErrorContains(t, err, "is not the database's tally")
	require.ErrorContains(t, err, `device "web-2" is unaccounted for: it has not left the roll`)
	require.ErrorContains(t, err, `device "web-3" is unaccounted for: it was eligible, but was not put on the roll`)
	require.NotContains(t, err.Error(), "web-1")
}

func TestVerdictIsGoodWhenAllHaveLeftTheRoll(t *testing.T) {
	t.Parallel()
	d := demoOnDatabase(t, 2)
	d.roll(t)
	d.reconnect(t, "web-1")
	d.reconnect(t, "web-2")
	status, err := d.store.CloseRestore(t.Context(), inventory.CloseRestoreInput{RestoreID: "night", State: runbook.RestoreCompleted})
	require.NoError(t, err)
	require.NoError(t, d.verdict(t.Context(), status))
}

func TestDemoTakesUpTheRestoreThatRuns(t *testing.T) {
	t.Parallel()
	d := demoOnDatabase(t, 1)
	id, err := d.restoreID(t.Context(), "")
	require.NoError(t, err)
	require.Regexp(t, `^demo-\d{8}-\d{6}$`, id)
	d.roll(t)
	id, err = d.restoreID(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "night", id)
	d.reconnect(t, "web-1")
	_, err = d.store.CloseRestore(t.Context(), inventory.CloseRestoreInput{RestoreID: "night", State: runbook.RestoreCompleted})
	require.NoError(t, err)
	id, err = d.restoreID(t.Context(), "")
	require.NoError(t, err)
	require.Regexp(t, `^demo-`, id)
}
