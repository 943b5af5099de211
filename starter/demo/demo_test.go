package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// demoOf writes a demo of devices web-1, web-2 ... with these restored versions, and these reports.
func demoOf(t *testing.T, reports string, restored ...string) string {
	t.Helper()
	dir := t.TempDir()
	var fleet strings.Builder
	for i, version := range restored {
		fmt.Fprintf(&fleet,
			"---\napiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata:\n  name: web-%d\n  annotations: "+
				"{device-controller/renderedVersion: %q}\n", i+1, version)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, FleetFile), []byte(fleet.String()), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ReportsFile), []byte(reports), 0o600))
	return dir
}

// demoOnDatabase is a demo without servers, on a database in which the devices are imported.
func demoOnDatabase(t *testing.T, devices int) *Demo {
	t.Helper()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	streams := printer.SystemIO()
	streams.Stderr = &bytes.Buffer{}
	restored := make([]string, devices)
	for i := range restored {
		restored[i] = "5"
	}
	d := &Demo{
		io: streams, dir: demoOf(t, "", restored...), Config: Config{Store: store}, restore: &ask.Watch{ID: "night"},
	}
	require.NoError(t, d.Prepare(t.Context()))
	return d
}

// roll opens restore "night" and puts the fleet on its roll.
func (d *Demo) roll(t *testing.T) {
	t.Helper()
	_, err := d.Store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "night", By: "alice"})
	require.NoError(t, err)
	_, err = d.Store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "night"})
	require.NoError(t, err)
	_, err = d.Store.FinishRoll(t.Context(), "night")
	require.NoError(t, err)
}

func (d *Demo) reconnect(t *testing.T, device string) {
	t.Helper()
	done, err := d.Store.Reconnect(t.Context(), inventory.ReconnectInput{
		RestoreID: "night", OrgID: runbook.DefaultOrgID, Name: device, Restored: "5", Reported: "5",
		RequestID: "report-" + device,
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
	d.Eligible = append(d.Eligible, "web-3")
	status, err := d.Store.RestoreStatus(t.Context(), "night")
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
	status, err := d.Store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "night", State: runbook.RestoreCompleted})
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
	_, err = d.Store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "night", State: runbook.RestoreCompleted})
	require.NoError(t, err)
	id, err = d.restoreID(t.Context(), "")
	require.NoError(t, err)
	require.Regexp(t, `^demo-`, id)
}
