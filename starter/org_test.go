package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// acme puts devices into an organisation "Acme" as well, which has the same names, and returns its id.
func (b *bench) acme(documents ...string) string {
	b.t.Helper()
	o := b.runWith(b.t.Context(), strings.Join(documents, "---\n"), "import", "-f", "-", "--org", "Acme", "--create-org")
	require.Equal(b.t, 0, o.code, o.stderr)
	orgID, err := b.store.ResolveOrg(b.t.Context(), "Acme")
	require.NoError(b.t, err)
	return orgID
}

// A restore of one organisation is not started, taken up or waited for as one of another.
func TestARestoreOfAnotherOrganisationIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.giveYAML(device{name: "web-1", version: "5"}.document())
	orgID := b.acme(device{name: "web-2", version: "5"}.document())
	b.ok("restore", "--id", "ours", "--org", "Acme", "--timeout", "1ms") // which no worker opens
	requireRefused := func(id, says string, args ...string) {
		o := b.run(append([]string{"restore", "--id", id, "-o", "json"}, args...)...)
		require.Equal(t, printer.ExitFailed, o.code, o.stderr)
		require.Empty(t, o.stdout)
		require.Contains(t, o.stderr, `"code":"ScopeMismatch"`)
		require.Contains(t, o.stderr, says)
	}
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "ours", OrgID: orgID})
	require.NoError(t, err)
	is := "restore ours is of organisation " + orgID + ", not of "
	requireRefused("ours", is+"organisation default", "--org", "default")
	requireRefused("ours", is+"organisation default", "--org", "default", "--wait")
	requireRefused("ours", is+"all organisations", "--wait")
	_, err = ask.Restore{ID: "ours", Queue: b.queue}.StartOrTakeUp(t.Context(), b.store, b.client, runbook.DefaultOrgID)
	require.Equal(t, runbook.CodeScopeMismatch, runbook.AsRefusal(err).Code, "it opened since the look before the start")
	_, err = b.store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "ours", State: runbook.RestoreCancelled})
	require.NoError(t, err)
	requireRefused("ours", is+"organisation default", "--org", "default", "--dry-run")

	_, err = b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "of-all"})
	require.NoError(t, err)
	requireRefused("of-all", "restore of-all is of all organisations", "--org", "Acme", "--wait")
}

// Two organisations hold the same names, and the same request ids are used in both: each verb acts in its own.
func TestEachVerbActsInItsOrganisation(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	devices := []string{device{name: "web-1", version: "5"}.document(), device{name: "web-2", version: "5"}.document()}
	b.giveYAML(devices...)
	orgID := b.acme(append(devices, device{name: "web-3", version: "5"}.document())...)
	b.ok("restore", "--id", "ours")
	state := func(name, org string) (s runbook.State) {
		var got struct{ State runbook.State }
		require.NoError(t, json.Unmarshal([]byte(b.ok("describe", "device", name, "-o", "json", "--org", org)), &got))
		return got.State
	}

	// Then the reports, decisions and lists of one are none of the other's,
	b.ok("reconnect", "device", "web-1", "--rendered-version", "7", "--org", "Acme")
	require.Equal(t, runbook.StateConflictPaused, state("web-1", "Acme"))
	require.Equal(t, runbook.StateAwaitingReconnect, state("web-1", "default"))
	b.ok("reconnect", "device", "web-1", "--rendered-version", "8")
	b.ok("resume", "device", "web-1", "--request-id", "same", "--org", "Acme")
	require.Equal(t, runbook.StateConflictPaused, state("web-1", "default"))
	require.Contains(t, b.ok("resume", "device", "web-1", "--request-id", "same"), "version 9 is rendered next")
	b.ok("withdraw", "device", "web-2", "--force", "--org", "Acme")
	require.Equal(t, runbook.StateAwaitingReconnect, state("web-2", "default"))
	require.Equal(t, "device/web-1\ndevice/web-2\ndevice/web-3\n", b.ok("get", "devices", "-o", "name", "--org", "Acme"))
	require.Equal(t, "device/web-1\ndevice/web-2\n", b.ok("get", "devices", "-o", "name"))
	require.Equal(t, 3, b.run("resume", "devices", "--all", "--org", "Acme").code)
	b.ok("reconnect", "device", "web-3", "--rendered-version", "6", "--org", "Acme")
	require.NotContains(t, b.ok("diff", "devices", "--all", "--org", "Acme"), "web-1")
	require.Equal(t, 3, b.run("diff", "devices", "--all").code)
	require.Contains(t, b.ok("plan", "resume", "devices", "--all", "--org", "Acme", "--as", "alice"), "1 device")
	require.NotEqual(t, 0, b.run("plan", "resume", "devices", "--all", "--as", "alice").code)
	require.Contains(t, b.ok("get", "transitions", "web-2", "--org", "Acme"), "Withdrawn")
	require.NotContains(t, b.ok("get", "transitions", "web-2"), "Withdrawn")

	// the tally of a restore of all organisations is of the one that is asked about,
	var tally printer.RestoreView
	b.run("status", "ours", "-o", "json").json(t, &tally)
	require.EqualValues(t, 5, tally.Total)
	b.run("status", "ours", "-o", "json", "--org", "Acme").json(t, &tally)
	require.EqualValues(t, 3, tally.Total)
	require.True(t, tally.AddsUp())
	text := b.ok("status", "--org", "Acme")
	require.Contains(t, text, "web-3")
	require.NotContains(t, text, "web-2")

	// and one organisation does not end what all wait for.
	o := b.run("cancel", "ours", "--reason", "x", "--org", "Acme")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore ours is of all organisations, not of "+orgID+" alone")
	require.Equal(t, runbook.RestoreRunning, b.tally("ours").State)
}

func TestARestoreOfAnotherOrganisationIsNotShownAndNotCancelled(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.acme(device{name: "web-1", version: "5"}.document())
	b.ok("restore", "--id", "acme", "--org", "Acme")
	o := b.run("status", "acme", "--org", "default")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore acme is of organisation")
	o = b.run("cancel", "acme", "--reason", "x", "--org", "default")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore acme is of organisation")
	require.Contains(t, b.run("status", "--org", "default").stderr, "there has been no restore yet")
	require.Equal(t, "restore/acme\n", b.ok("get", "restores", "-o", "name", "--org", "Acme"))
	require.Empty(t, b.ok("get", "restores", "-o", "name", "--org", "default"))
	require.Contains(t, b.run("describe", "restore", "acme", "--org", "default").stderr, "restore acme is of organisation")
	require.Equal(t, runbook.RestoreRunning, b.tally("acme").State)
	b.ok("cancel", "acme", "--reason", "wrong backup", "--org", "Acme")
}

func TestApprovalsActInTheirOrganisation(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	request := yamlRequest(t, "er-1", "")
	b.giveYAML(request)
	b.acme(request)
	b.ok("deny", "er/er-1", "--request-id", "same")
	require.Contains(t, b.ok("get", "er", "--org", "Acme"), "Pending")
	b.ok("approve", "er/er-1", "--request-id", "same", "--org", "Acme")
	require.Contains(t, b.ok("get", "er", "--org", "Acme"), "Approved")
	require.Contains(t, b.ok("get", "er"), "Denied")
	require.Contains(t, b.ok("get", "devices", "--org", "Acme"), "er-1")
	require.Equal(t, 0, b.run("get", "devices").code)
	require.NotContains(t, b.ok("get", "devices", "-o", "name"), "er-1")
}

// Two organisations hold the same names: what is explained, listed and revoked is one's own.
func TestEachQuestionIsAboutItsOrganisation(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	web1 := device{name: "web-1", version: "5"}.document()
	b.giveYAML(web1, device{name: "web-2", version: "5"}.document(), fleet("web", "site: berlin"), fleet("ours", "a: b"))
	orgID := b.acme(web1, fleet("web", "site: paris"), fleet("theirs", "a: b"))
	b.ok("restore", "--id", "first")
	in := func(org string, args ...string) string { return b.ok(append(args, "--org", org)...) }

	b.ok("reconnect", "device", "web-1", "--rendered-version", "7", "--org", "Acme")
	require.Contains(t, in("Acme", "explain", "device", "web-1"), "starter resume device web-1")
	require.Contains(t, in("default", "explain", "device", "web-1"), "device/web-1 waits for its agent")
	require.NotContains(t, in("default", "explain", "device", "web-1"), "starter resume")
	o := b.run("explain", "device", "web-2", "--org", "Acme")
	require.Equal(t, printer.ExitFailed, o.code)
	require.Contains(t, o.stderr, "not found in organisation "+orgID)

	require.Contains(t, in("Acme", "get", "events"), "Reported version 7")
	require.NotContains(t, b.ok("get", "events"), "Reported version 7")

	require.Equal(t, "fleet/theirs\nfleet/web\n", in("Acme", "get", "fleets", "-o", "name"))
	require.Equal(t, "fleet/ours\nfleet/web\n", in("default", "get", "fleets", "-o", "name"))
	require.Contains(t, in("Acme", "get", "fleets", "web", "-o", "json"), "paris")
	require.NotContains(t, in("Acme", "get", "fleets", "web", "-o", "json"), "berlin")
	require.Contains(t, in("default", "get", "fleets", "web", "-o", "json"), "berlin")

	revoke := []string{"cert", "revoke", "--serial", "3f2a09c1"}
	require.Contains(t, in("Acme", append(revoke, "--reason", "stolen in Paris")...), ": revoked\n")
	require.Contains(t, in("Acme", "cert", "revoke", "--list"), "stolen in Paris")
	require.NotContains(t, in("default", "cert", "revoke", "--list"), "3f2a09c1")
	require.Contains(t, in("default", append(revoke, "--reason", "lost in Berlin")...), ": revoked\n")
	require.Contains(t, in("Acme", append(revoke, "--undo")...), ": no longer revoked\n")
	require.NotContains(t, in("Acme", "cert", "revoke", "--list"), "3f2a09c1")
	require.Contains(t, in("default", "cert", "revoke", "--list"), "lost in Berlin")
}

// rolled waits until a restore has made its roll.
func (b *bench) rolled(id string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		var rolled bool
		err := b.store.DB().GetContext(b.t.Context(), &rolled,
			`select exists (select from rollcall.restores where id = $1 and rolled_at is not null)`, id)
		return err == nil && rolled
	}, time.Minute, 20*time.Millisecond)
}

// runs reports whether the workflow of a device runs: its restore does nothing more by itself that the database could
// refuse.
func (b *bench) runs(orgID, name string) bool {
	run, err := b.client.DescribeWorkflowExecution(b.t.Context(), runbook.DeviceWorkflowID(orgID, name), "")
	return err == nil && run.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
}

// loseRestores puts the database back to before any restore began.
func (b *bench) loseRestores() {
	b.store.DB().MustExec(`
begin;
update devices set annotations = annotations - 'device-controller/awaitingReconnect';
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions;
delete from rollcall.roll;
delete from rollcall.restores;
commit`)
}

// A restore of one organisation that the database has lost is cancelled under that organisation, also where the server
// may know its callers, and under no other.
func TestALostRestoreOfOneOrganisationIsCancelled(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.credentials = true
	b.work()
	orgID := b.acme(device{name: "web-1", version: "5"}.document())
	for _, tc := range []struct{ id, org string }{{"first", ""}, {"second", "Acme"}} {
		b.ok("restore", "--id", tc.id, "--org", "Acme")
		require.Eventually(t, func() bool { return b.runs(orgID, "web-1") }, 2*time.Minute, 20*time.Millisecond)
		b.loseRestores()
		o := b.run("cancel", tc.id, "--reason", "put back", "--org", "default")
		require.Equal(t, 1, o.code)
		require.Contains(t, o.stderr, "restore "+tc.id+" is of organisation")
		line := []string{"cancel", tc.id, "--reason", "put back", "--timeout", "1m"}
		if tc.org != "" {
			line = append(line, "--org", tc.org)
		}
		require.Contains(t, b.ok(line...), "the workflows of restore "+tc.id+" have ended")
	}
	o := b.run("cancel", "third", "--reason", "x", "--org", "Acme")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "there is no restore third")
}

// A restore that no worker has opened yet is told under its organisation.
func TestARestoreThatIsNotOpenYetIsToldInItsOrganisation(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	orgID := b.acme(device{name: "web-1", version: "5"}.document())
	_, err := b.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: runbook.RestoreWorkflowID("acme"), TaskQueue: b.queue,
	}, runbook.RestoreWorkflowName, runbook.RestoreInput{RestoreID: "acme", OrgID: orgID})
	require.NoError(t, err)
	require.Contains(t, b.run("cancel", "acme", "--reason", "x", "--org", "default").stderr,
		"restore acme is of organisation")
	require.Contains(t, b.run("cancel", "acme", "--reason", "x", "--org", "Acme").stderr, "restore acme was told")
}

// A cancellation that the restore refuses is not waited for.
func TestACancellationThatIsRefusedIsSaidToBe(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.credentials = true
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.ok("restore", "--id", "first")
	b.rolled("first")
	b.hooks = &hooks{signal: func(string) {
		b.store.DB().MustExec(`
begin;
set local session_replication_role = replica;
delete from rollcall.decisions;
commit`)
	}}
	o := b.run("cancel", "first", "--reason", "x", "--timeout", "2m")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore first is not cancelled: ")
	require.NotContains(t, o.stderr, "outcome unknown")
	require.Equal(t, runbook.RestoreRunning, b.tally("first").State)
}

// fsck --org reports what concerns the organisation, and takes up its own restores alone.
func TestFsckActsInItsOrganisation(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.acme(device{name: "web-1", version: "5"}.document())
	for id, org := range map[string]string{"ours": "default", "acme": "Acme"} {
		b.ok("restore", "--id", id, "--org", org)
		b.rolled(id)
		require.NoError(t, b.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID(id), "", "test"))
	}
	b.store.DB().MustExec(`update rollcall.restores set total = 9`)
	fsck := func(flags ...string) (report fsckReport, restores []string) {
		o := b.run(append([]string{"fsck", "--settle", "0", "-o", "json"}, flags...)...)
		o.json(t, &report)
		for _, v := range report.Violations {
			if !slices.Contains(restores, v.RestoreID) {
				restores = append(restores, v.RestoreID)
			}
		}
		return report, restores
	}
	_, of := fsck()
	require.ElementsMatch(t, []string{"ours", "acme"}, of)
	report, of := fsck("--org", "Acme")
	require.Equal(t, []string{"acme"}, of, "%+v", report)
	report, _ = fsck("--org", "Acme", "--repair")
	require.Equal(t, []string{"acme"}, report.Repaired)
	require.Empty(t, report.Started)

	// A restore of all organisations is reported, and taken up where no organisation is given.
	b.store.DB().MustExec(`update rollcall.restores set state = 'Cancelled' where id = 'acme'`)
	b.store.DB().MustExec(`update rollcall.restores set org_id = null where id = 'ours'`)
	report, of = fsck("--org", "Acme", "--repair")
	require.Contains(t, of, "ours")
	require.Empty(t, report.Repaired)
}
