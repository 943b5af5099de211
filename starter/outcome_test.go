package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

func TestReconnectReportsWhatCameOfIt(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"}, device{name: "web-3", version: "5"})
	b.restored("first")
	const review = "; review it with\n  starter describe device web-1\n"
	require.Equal(t, "device/web-1: ConflictPaused, reported version 7 (restored 5)"+review,
		b.ok("reconnect", "device", "web-1", "--rendered-version", "7"))
	for range 2 {
		require.Contains(t, b.ok("reconnect", "device", "web-1", "--rendered-version", "7"),
			"ConflictPaused, reported version 7", "the same again is only counted, and is answered as well")
	}
	require.Equal(t, "device/web-1: ConflictPaused, reported version 4 (restored 5)"+review,
		b.ok("reconnect", "device", "web-1", "--rendered-version", "4"))
	require.Equal(t, "device/web-2: back to normal, reported version 4 (restored 5)\n",
		b.ok("reconnect", "device", "web-2", "--rendered-version", "4"))
	require.Equal(t, runbook.StateNormal, mustState(t, b, "web-2"))

	b.decommission("web-3")
	require.Contains(t, b.ok("reconnect", "device", "web-3", "--rendered-version", "5"), "device/web-3: withdrawn")
}

func (b *bench) decommission(name string) {
	b.t.Helper()
	_, err := b.store.DB().ExecContext(b.t.Context(),
		`update devices set status = jsonb_set(status, '{lifecycle}', '{"status":"Decommissioned"}') where name = $1`, name)
	require.NoError(b.t, err)
}

// TestAReportThatADyingRestoreGotIsSentAgain lets a newer restore have taken over in the database while the older one's
// workflow still listens.
func TestAReportThatADyingRestoreGotIsSentAgain(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	runs := func() bool { return b.runs(runbook.DefaultOrgID, "web-1") }
	require.Eventually(t, runs, 2*time.Minute, 20*time.Millisecond, "the device's workflow has not been started")
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "second", Supersede: true})
	require.NoError(t, err)
	done := make(chan outcome, 1)
	go func() { done <- b.run("reconnect", "device", "web-1", "--rendered-version", "7", "--timeout", "60s") }()
	require.Eventually(t, func() bool { return !runs() }, 2*time.Minute, 20*time.Millisecond,
		"the older restore's workflow is told and ends")
	b.ok("restore", "--id", "second", "--supersede")
	o := <-done
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "device/web-1: ConflictPaused, reported version 7")
	require.Equal(t, int64(1), b.tally("second").Counts[runbook.StateConflictPaused])
}

// TestACancelThatIsReadLateStillSaysWhoAndWhy lets everything that the command sends wait for a worker together.
func TestACancelThatIsReadLateStillSaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	stopWorker := b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	b.ok("cancel", "first", "--reason", "wrong id", "--as", "bob")
	// Taken up again, the restore lets a moment pass before it goes on.
	again := make(chan outcome, 1)
	go func() { again <- b.run("restore", "--id", "first") }()
	defer func() { <-again }()
	require.Eventually(t, func() bool { return b.tally("first").State == runbook.RestoreRunning }, 2*time.Minute,
		20*time.Millisecond)
	stopWorker()
	o := b.run("cancel", "first", "--reason", "wrong backup", "--as", "alice", "--timeout", "1s")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "outcome unknown")
	b.work()
	run := b.client.GetWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), "")
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, run.Get(t.Context(), nil), &cancelled)
	var by string
	require.NoError(t, b.store.DB().GetContext(t.Context(), &by,
		`select closed_by || ': ' || reason from rollcall.restores`))
	require.Equal(t, "alice: wrong backup", by)
}

// PostgreSQL was put back to before the restore began. Its workflows still wait, and each command says so.
func TestARestoreThatTheDatabaseDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5", labels: "alias: till-1"})
	b.restored("first")
	require.Eventually(t, func() bool { return b.runs(runbook.DefaultOrgID, "web-1") }, 2*time.Minute,
		20*time.Millisecond)
	b.loseRestores()
	o := b.run("restore", "--id", "first")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "the database does not know the restore")
	require.Contains(t, o.stderr, "starter cancel first --reason REASON")
	o = b.run("fsck", "--settle", "0s")
	require.Equal(t, printer.ExitViolations, o.code, o.stderr)
	require.Contains(t, o.stdout, "WorkflowRuns: restore first: workflows call the roll of a restore that the database")
	o = b.run("cancel", "first", "--reason", "put back", "--timeout", "2m")
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "the workflows of restore first have ended")
	require.Contains(t, o.stderr, "`starter restore` calls the roll again")
	require.Contains(t, b.ok("cancel", "first", "--reason", "once more"), "the workflows of restore first have ended")
	b.restored("second")
	b.until("web-1", runbook.StateAwaitingReconnect)

	o = b.run("resume", "device", "till-1")
	require.Contains(t, o.stderr+o.stdout, "it is the alias of web-1: a decision goes by the device's name")
	require.Equal(t, runbook.StateAwaitingReconnect, b.stateOf("web-1"))
}

func TestResumeInBulkIsAboutTheConflictsThatWereSelected(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	b.hooks = &hooks{start: func(id string) {
		if strings.HasPrefix(id, "resume/") { // the plan is made, and no device was asked
			b.ok("reconnect", "device", "web-2", "--rendered-version", "9") // and waits until it is read
		}
	}}
	report, code := b.resume("devices", "--all")
	require.Equal(t, 4, code)
	require.Equal(t, []string{"web-1", "web-3"}, report.Resumed)
	require.Equal(t, runbook.CodeVersionChanged, report.Refused[0].Code, "no one saw the conflict with 9")
	report, code = b.resume("device", "web-2")
	require.Equal(t, 0, code, "who names a device means it: %v", report.Refused)
}

func TestADryRunDoesNotPromiseWhoIsOnTheWayOut(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	b.decommission("web-1")
	_, err := b.store.DB().ExecContext(t.Context(), `update devices set deleted_at = now() where name = 'web-2'`)
	require.NoError(t, err)
	report, code := b.resume("device", "web-1", "web-2", "web-3", "--dry-run")
	require.Equal(t, 4, code)
	require.Len(t, report.WouldResume, 1)
	require.Len(t, report.Refused, 2)
	require.Equal(t, runbook.CodeNotWaiting, report.Refused[0].Code)
	require.Contains(t, report.Refused[0].Message, "Decommissioned")
	report, code = b.resume("devices", "--all", "--dry-run")
	require.Equal(t, 4, code)
	require.Len(t, report.WouldResume, 1)
	require.NotContains(t, b.ok("describe", "device", "web-1"), "a resume renders", "describe does not promise it either")
}

// TestARestoreIsTakenUpAgainAtOnce lets the restore be over in the database a moment before its workflow is.
func TestARestoreIsTakenUpAgainAtOnce(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	stopWorker := b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	stopWorker() // the workflow cannot find out by itself
	_, err := b.store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "first", State: runbook.RestoreCancelled, By: "alice"})
	require.NoError(t, err)
	var starts atomic.Int32
	b.hooks = &hooks{start: func(string) { starts.Add(1) }}
	done := make(chan outcome, 1)
	go func() { done <- b.run("restore", "--id", "first", "--timeout", "2m") }()
	require.Eventually(t, func() bool { return starts.Load() >= 2 }, time.Minute, 10*time.Millisecond,
		"it asks again after the first refusal")
	require.NoError(t, b.client.CancelWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), ""))
	b.work()
	o := <-done
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "restore first is Running with 1 device on its roll")
}

func TestADryRunOfASupersession(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	// A device that was approved since, and so is on no roll.
	b.store.DB().MustExec(`insert into devices (org_id, name, annotations, generation, resource_version, created_at,
		updated_at, spec, status) select org_id, 'new-1', '{"device-controller/renderedVersion": "1"}', 1, 1, now(), now(),
		spec, '{}' from devices where name = 'web-1'`)
	b.ok("withdraw", "device", "web-4", "--force")
	o := b.run("restore", "--id", "second", "--dry-run")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore first still runs")
	var p inventory.RestorePreview
	b.run("restore", "--id", "second", "--supersede", "--dry-run", "-o", "json").json(t, &p)
	require.Equal(t, inventory.RestorePreview{
		RestoreID: "second", Supersedes: []string{"first"}, Total: 6, Back: 1, Paused: 3, Withdrawn: 1,
	}, p)
	text := b.ok("restore", "--id", "second", "--supersede", "--dry-run")
	require.Contains(t, text, "restore second would put 6 devices on its roll")
	require.Contains(t, text, "  1 of them: back already, and would wait again\n")
	require.Contains(t, text, "it would supersede restore first\n")
	require.Equal(t, runbook.RestoreRunning, b.tally("first").State, "nothing was changed")
	require.Equal(t, 1, b.run("status", "second").code)
}

func TestWithdrawAndReconnectSeveral(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	told := func(args ...string) (r printer.ToldReport, code int) {
		o := b.run(append(args, "-o", "json")...)
		o.json(t, &r)
		require.Equal(t, r.Matched, len(r.Done)+len(r.Refused)+len(r.Unknown)+len(r.NotAsked), o.stdout)
		return r, o.code
	}
	// web-4 waits in Berlin, where web-1 and web-2 are paused; web-5 is back.
	r, code := told("reconnect", "devices", "-l", "site=rome", "--rendered-version", "5")
	require.Equal(t, 3, code)
	require.Equal(t, 1, r.Skipped)
	r, code = told("reconnect", "devices", "-l", "site=berlin", "--rendered-version", "9", "--dry-run")
	require.Equal(t, 0, code)
	require.Len(t, r.Done, 3)
	require.Equal(t, runbook.StateAwaitingReconnect, mustState(t, b, "web-4"))
	r, code = told("reconnect", "devices", "-l", "site=berlin", "--rendered-version", "9")
	require.Equal(t, 0, code, r)
	require.Len(t, r.Done, 3)
	require.Equal(t, printer.ToldDevice{
		Name: "web-4", State: runbook.StateConflictPaused,
		RestoredVersion: "5", ReportedVersion: "9",
	}, r.Done[2])

	r, code = told("withdraw", "devices", "-l", "site=berlin", "--dry-run")
	require.Equal(t, 4, code, "a dry run promises nothing that would be refused")
	require.Empty(t, r.Done)
	require.Len(t, r.Refused, 3)
	require.Equal(t, runbook.CodeStillManaged, r.Refused[0].Code)
	r, code = told("withdraw", "device", "web-5", "nosuch", "--dry-run")
	require.Equal(t, 3, code)
	require.Equal(t, runbook.CodeNoRollCall, r.Refused[0].Code)
	require.Equal(t, runbook.CodeNotFound, r.Refused[1].Code)
	require.Contains(t, b.run("withdraw", "devices", "-l", "site=berlin", "--force", "--dry-run").stdout,
		"3 devices would be asked: 3 would be withdrawn, 0 refused")
	b.decommission("web-1")
	r, code = told("withdraw", "devices", "-l", "site=berlin", "--reason", "the site was closed")
	require.Equal(t, 4, code)
	require.Equal(t, []string{"web-1"}, namesOf(r.Done))
	require.Equal(t, runbook.CodeStillManaged, r.Refused[0].Code)
	require.Len(t, r.Refused, 2)
	o := b.run("withdraw", "devices", "-l", "site=berlin", "--force")
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "device/web-2: withdrawn\n")
	require.Contains(t, o.stdout, "2 devices asked: 2 withdrawn, 0 refused; 1 more matched but neither wait nor are "+
		"paused")
	r, code = told("withdraw", "device", "web-3", "nosuch", "--force")
	require.Equal(t, 4, code)
	require.Equal(t, runbook.CodeNotFound, r.Refused[0].Code)
	require.EqualValues(t, 4, b.tally("first").Counts[runbook.StateWithdrawn])
	for _, args := range [][]string{
		{"withdraw", "devices"},
		{"reconnect", "devices", "--rendered-version", "1"},
		{"withdraw", "device", "a", "-l", "b=c"},
	} {
		require.Equal(t, 2, b.run(args...).code, args)
	}
}

func namesOf(devices []printer.ToldDevice) []string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = d.Name
	}
	return names
}

func TestDenyBySelector(t *testing.T) {
	t.Parallel()
	b := enrollingBench(t)
	report, code := b.enroll("deny", "enrollmentrequests", "-l", "site=berlin", "--reason", "not ours")
	require.Equal(t, 0, code)
	require.ElementsMatch(t, []string{"er-1", "er-2"}, *report.Denied)
	require.Equal(t, 1, report.Skipped, "one was approved in the backup")
	_, code = b.enroll("deny", "enrollmentrequests", "-l", "site=berlin")
	require.Equal(t, 3, code)
	require.Contains(t, b.ok("get", "er", "er-3"), "Pending")
}
