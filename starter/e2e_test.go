package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

// TestANightOfAnOperator is the whole story by commands alone: import, restore, look, decide, and the end.
func TestANightOfAnOperator(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.giveYAML(fleet("web", "fleet: web"),
		device{name: "web-1", version: "5", fleet: "web", labels: "fleet: web"}.document(),
		device{name: "web-2", version: "5", fleet: "web", labels: "fleet: other"}.document(),
		device{name: "pump-1", version: "9"}.document())

	started := b.run("restore", "--id", "night", "--as", "alice")
	require.Equal(t, 0, started.code)
	require.Contains(t, started.stdout, "restore night is Running with 3 devices on its roll")
	require.Empty(t, started.stderr, "there is nothing to complain about")
	require.Equal(t, "device/pump-1\ndevice/web-1\ndevice/web-2\n",
		b.ok("get", "devices", "--field-selector=status.summary.status=AwaitingReconnect", "-o", "name"))

	b.reported("web-1", "7", runbook.StateConflictPaused)
	b.reported("web-2", "6", runbook.StateConflictPaused)
	b.reported("pump-1", "9", runbook.StateNormal)
	require.Equal(t, "device/web-1\ndevice/web-2\n",
		b.ok("get", "devices", "--field-selector=status.summary.status=ConflictPaused", "-o", "name"))
	require.Regexp(t, `(?m)^web-1 .* 5 +7 +night +fleet=web$`, b.ok("get", "devices", "-o", "wide"))

	described := b.ok("describe", "device", "web-1")
	require.Contains(t, described, "restored 5, reported 7, rendered 5; a resume renders 8")
	require.Contains(t, described, "registry.example.com/web:2", "the fleet's template is the source of its spec")
	require.Contains(t, described, "starter resume device web-1 --expect-version 7")
	require.Contains(t, b.ok("describe", "device/web-2"), "BUT its labels do not match")

	require.Contains(t, b.ok("resume", "device", "web-1", "--expect-version", "7", "--reason", "checked on site", "--as",
		"alice"), "version 8 is rendered next")
	require.Contains(t, b.ok("resume", "devices", "-l", "fleet=other", "--as", "bob"), "1 resumed")

	require.Eventually(t, func() bool { return b.tally("night").State == runbook.RestoreCompleted }, 2*time.Minute,
		50*time.Millisecond)
	var status runbook.RestoreStatus
	b.run("status", "night", "-o", "json").json(t, &status)
	require.Equal(t, int64(3), status.Total)
	require.Equal(t, int64(3), status.Counts[runbook.StateNormal])
	require.True(t, status.AddsUp())
	require.Contains(t, b.ok("get", "events", "-o", "wide"), "DeviceConflictResolved")

	after := b.ok("describe", "device", "web-1")
	require.Contains(t, after, "checked on site")
	require.Contains(t, after, "alice")
}

// TestStatusIsTheContract compares the keys byte for byte: scripts read them.
func TestStatusIsTheContract(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	o := b.run("status")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "starter restore")
	require.Equal(t, 1, b.run("status", "nosuch").code)
	require.Contains(t, b.run("status", "nosuch").stderr, "nosuch")

	b.restored("first")
	var keys map[string]any
	b.run("status", "-o", "json").json(t, &keys)
	require.Equal(t, "first", keys["restoreId"])
	require.Equal(t, "Running", keys["state"])
	require.Contains(t, keys, "finishedAt")
	require.Nil(t, keys["finishedAt"])
	require.NotEmpty(t, keys["startedAt"])
	require.InEpsilon(t, 1.0, keys["total"], 0)
	require.Equal(t, map[string]any{"AwaitingReconnect": 1.0, "ConflictPaused": 0.0, "Normal": 0.0, "Withdrawn": 0.0},
		keys["counts"])
	require.Equal(t, "standalone", keys["mode"])
	require.Equal(t, "tester", keys["openedBy"])
	require.Len(t, keys, 8)

	text := b.ok("status")
	require.Regexp(t, `(?m)^AwaitingReconnect +1$`, text)
	require.Regexp(t, `(?m)^total +1$`, text)
	require.Contains(t, text, "starter describe device web-1")
	require.NotContains(t, b.ok("status", "--longest", "0"), "waited longest")
}

func TestARestoreIsRefusedWhileAnotherRuns(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")

	for _, line := range []string{"restore --id second", "restore --id second --org default"} {
		o := b.run(strings.Fields(line)...)
		require.Equal(t, 1, o.code, line)
		require.Contains(t, o.stderr, "first", "%s: it says which one runs", line)
		require.Empty(t, o.stdout, line)
	}
	o := b.run("restore", "--id", "first")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore first runs already")

	var status runbook.RestoreStatus
	b.run("restore", "--id", "second", "--supersede", "-o", "json").json(t, &status)
	require.Equal(t, "second", status.RestoreID)
	require.Equal(t, runbook.RestoreRunning, status.State)
	require.Equal(t, int64(1), status.Total)
	require.Equal(t, runbook.RestoreSuperseded, b.tally("first").State)

	o = b.run("restore", "--id", "first")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore first has ended (Superseded)")
}

func TestARestoreIsStartedAsItsFlagsSay(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	// No worker runs: what counts is what waits for one.
	b.run(strings.Fields("restore --id night --as alice --supersede --batch-size 7 --batches-at-once 3 --watch-interval " +
		"1m --timeout 1s")...)
	events := b.client.GetWorkflowHistory(t.Context(), runbook.RestoreWorkflowID("night"), "", false,
		enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	started, err := events.Next()
	require.NoError(t, err)
	var in runbook.RestoreInput
	input := started.GetWorkflowExecutionStartedEventAttributes().GetInput()
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(input, &in))
	require.Equal(t, runbook.RestoreInput{
		RestoreID: "night", Supersede: true, By: "alice", As: "alice", BatchSize: 7, BatchesAtOnce: 3, WatchInterval: "1m0s",
	}, in)
}

func TestARestoreOfOneOrganisation(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	o := b.runWith(t.Context(), device{name: "acme-1", version: "3"}.document(), "import", "-f", "-", "--org", "Acme",
		"--create-org")
	require.Equal(t, 0, o.code, o.stderr)

	b.ok("restore", "--id", "acme", "--org", "Acme")
	require.Equal(t, int64(1), b.tally("acme").Total)
	b.ok("reconnect", "device", "acme-1", "--rendered-version", "4", "--org", "Acme")
	require.Eventually(t, func() bool { return b.tally("acme").Counts[runbook.StateConflictPaused] == 1 }, 2*time.Minute,
		20*time.Millisecond)
	require.Equal(t, 3, b.run("resume", "devices", "--all").code, "the default organisation has nothing paused")
	described := b.ok("describe", "device", "acme-1", "--org", "Acme")
	require.Contains(t, described, "--org ", "commands to paste stay in the organisation")
	require.Equal(t, 0, b.run("resume", "devices", "--all", "--org", "Acme").code)
}

func TestWaitingForARestore(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	done := make(chan outcome, 1)
	go func() { done <- b.run("restore", "--id", "first", "--wait") }()
	b.until("web-1", runbook.StateAwaitingReconnect)
	b.until("web-2", runbook.StateAwaitingReconnect)
	require.Eventually(t, func() bool {
		return b.run("reconnect", "device", "web-1", "--rendered-version",
			"5").code == 0
	}, 2*time.Minute, 50*time.Millisecond)
	b.ok("reconnect", "device", "web-2", "--rendered-version", "4")
	o := <-done
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "restore first: Completed")
	require.Contains(t, o.stderr, "restore first, 2 devices: 0 wait, 0 paused, 2 back, 0 withdrawn")
}

func TestWaitingForARestoreThatIsCancelledAndTakenUpAgain(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.terminal = true
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	done := make(chan outcome, 1)
	go func() { done <- b.run("restore", "--id", "first", "--wait", "-o", "json", "--as", "bob") }()
	require.Eventually(t, func() bool {
		status, err := b.store.RestoreStatus(t.Context(), "first")
		return err == nil && status.Total == 2
	}, 2*time.Minute, 20*time.Millisecond)
	cancelled := b.run("cancel", "first", "--reason", "wrong backup", "--as", "alice")
	require.Equal(t, 0, cancelled.code, cancelled.stderr)
	require.Contains(t, cancelled.stdout, "restore first is cancelled")
	require.Contains(t, cancelled.stderr, "warning: 2 devices still wait")
	require.Contains(t, cancelled.stderr, "starter restore --id first")

	var closed struct {
		OpenedBy string `db:"opened_by"`
		ClosedBy string `db:"closed_by"`
		Reason   string `db:"reason"`
	}
	require.NoError(t, b.store.DB().GetContext(t.Context(), &closed,
		`select opened_by, closed_by, reason from rollcall.restores`))
	require.Equal(t, "bob", closed.OpenedBy)
	require.Equal(t, "alice", closed.ClosedBy)
	require.Equal(t, "wrong backup", closed.Reason)

	o := <-done
	require.Equal(t, 1, o.code)
	var status runbook.RestoreStatus
	o.json(t, &status)
	require.Equal(t, runbook.RestoreCancelled, status.State)
	require.Contains(t, o.stderr, "wait 2", "a person is shown a bar")

	again := b.run("cancel", "first", "--reason", "wrong backup")
	require.Equal(t, 1, again.code)
	require.Contains(t, again.stderr, "has ended already (Cancelled)")
	o = b.run("reconnect", "device", "web-1", "--rendered-version", "5")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "starter restore --id", "it says how the device is waited for again")

	require.Contains(t, b.ok("restore", "--id", "first"), "2 devices")
	b.reported("web-1", "5", runbook.StateNormal)
}

func TestWaitingEndsWhenTheWorkflowIsTerminatedOrTheOperatorLeaves(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	done := make(chan outcome, 1)
	ctx, leave := context.WithCancel(t.Context())
	go func() { done <- b.runWith(ctx, "", "restore", "--id", "first", "--wait") }()
	b.until("web-1", runbook.StateAwaitingReconnect)
	leave()
	left := <-done
	require.Equal(t, 1, left.code)
	require.Contains(t, left.stderr, "restore first goes on")
	require.Equal(t, runbook.RestoreRunning, b.tally("first").State)

	require.NoError(t, b.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), "", "test"))
	cancel := b.run("cancel", "first", "--reason", "x")
	require.Equal(t, 1, cancel.code)
	require.Contains(t, cancel.stderr, "starter restore --id first")
	go func() { done <- b.run("restore", "--id", "first", "--wait") }()
	require.Eventually(t, func() bool {
		return b.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), "", "test") == nil
	}, 2*time.Minute, 100*time.Millisecond)
	gone := <-done
	require.Equal(t, 1, gone.code)
	require.Contains(t, gone.stderr, "was terminated")
	require.Contains(t, gone.stderr, "starter restore --id first")
}

func TestWithdrawingADevice(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"}, device{name: "web-3", version: "5"})
	b.restored("first")

	o := b.run("withdraw", "device", "web-1")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "refused (StillManaged): the device is neither deleted nor decommissioned")
	require.Contains(t, b.ok("describe", "device", "web-1"), "refused: StillManaged", "the device's story tells of it")
	require.Equal(t, "device/web-1: withdrawn\n",
		b.ok("withdraw", "device", "web-1", "--force", "--reason", "lost at sea"))

	_, err := b.store.DB().ExecContext(t.Context(),
		`update devices set status = jsonb_set(status, '{lifecycle}', '{"status":"Decommissioned"}') where name = 'web-2'`)
	require.NoError(t, err)
	require.Contains(t, b.ok("describe", "device", "web-2"), "starter withdraw device web-2 --reason")
	require.Equal(t, "device/web-2: withdrawn\n", b.ok("withdraw", "device/web-2"))

	_, err = b.store.DB().ExecContext(t.Context(), `delete from devices where name = 'web-3'`)
	require.NoError(t, err)
	gone := b.ok("describe", "device", "web-3")
	require.Contains(t, gone, "no longer in the inventory", "only its workflow knows it")
	require.NotContains(t, gone, "--force")
	require.Equal(t, "device/web-3: withdrawn\n", b.ok("withdraw", "device", "web-3"))

	require.Equal(t, int64(3), b.tally("first").Counts[runbook.StateWithdrawn])
	o = b.run("withdraw", "device", "web-1", "--force")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "no roll call waits")
	o = b.run("withdraw", "device", "nosuch")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `there is no device "nosuch"`)
}

func TestReconnectRefusesWhatIsNoVersionAndWhoIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	o := b.run("reconnect", "device", "web-1", "--rendered-version", "5")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `no roll call waits for device "web-1": it is Normal`)
	b.restored("first")
	for _, version := range []string{"07", "-1", "7 ", "x", "x", "9223372036854775808", "+7"} {
		o := b.run("reconnect", "device", "web-1", "--rendered-version="+version)
		require.Equal(t, 1, o.code, version)
		require.Contains(t, o.stderr, fmt.Sprintf("refused (InvalidVersion): rendered version %q is not a version", version))
		require.Empty(t, o.stdout)
	}
	o = b.run("reconnect", "device", "nosuch", "--rendered-version", "5")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `there is no device "nosuch"`)
	require.Contains(t, b.ok("describe", "device", "web-1"), "refused: InvalidVersion", "the device's story tells of it")
	require.Equal(t, 1, b.run("reconnect", "device", "nosuch", "--rendered-version", "x").code)
	require.Equal(t, "device/web-1: back to normal, reported version 0 (restored 5)\n",
		b.ok("reconnect", "device", "web-1", "--rendered-version=0"))
	require.Equal(t, runbook.StateNormal, mustState(t, b, "web-1"))
}
