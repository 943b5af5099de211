package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"rollcall/internal/devenv/devtest"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// pausedBench is a world with a worker in which the restore "first" runs. web-1 to web-3 are paused (5, 7), web-4
// waits, web-5 is back.
func pausedBench(t *testing.T) (b *bench, stopWorker func()) {
	t.Helper()
	b = newTemporalBench(t)
	stopWorker = b.work()
	b.give(
		device{name: "web-1", version: "5", labels: "site: berlin"},
		device{name: "web-2", version: "5", labels: "site: berlin"},
		device{name: "web-3", version: "5", labels: "site: paris"},
		device{name: "web-4", version: "5", labels: "site: berlin"},
		device{name: "web-5", version: "5", labels: "site: rome"},
	)
	b.restored("first")
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		b.reported(name, "7", runbook.StateConflictPaused)
	}
	b.reported("web-5", "5", runbook.StateNormal)
	return b, stopWorker
}

func (b *bench) resume(args ...string) (printer.ResumeReport, int) {
	b.t.Helper()
	o := b.run(append([]string{"resume", "-o", "json", "--as", "alice"}, args...)...)
	var report printer.ResumeReport
	o.json(b.t, &report)
	require.Equal(b.t, report.Matched, len(report.Resumed)+len(report.Refused)+len(report.Unknown)+len(report.NotAsked)+
		len(report.WouldResume), o.stdout)
	return report, o.code
}

func TestResumeOneDevice(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)

	report, code := b.resume("device", "web-1", "--expect-version", "6")
	require.Equal(t, 4, code)
	require.Equal(t, runbook.CodeVersionChanged, report.Refused[0].Code)

	report, code = b.resume("device/web-1", "--expect-version", "7", "--reason", "checked on site")
	require.Equal(t, 0, code)
	require.Equal(t, []string{"web-1"}, report.Resumed)
	b.until("web-1", runbook.StateNormal)

	report, code = b.resume("device", "web-1")
	require.Equal(t, 3, code, "there is nothing paused any more")
	require.Equal(t, runbook.CodeNoRollCall, report.Refused[0].Code)
	require.Contains(t, report.Refused[0].Message, "alice resumed it")

	report, code = b.resume("device", "web-4")
	require.Equal(t, 3, code, "it has not reconnected")
	require.Equal(t, runbook.CodeNotPaused, report.Refused[0].Code)
	require.Contains(t, b.ok("describe", "device", "web-4"), "refused: NotPaused", "the refusal is on its timeline")
	b.reported("web-4", "8", runbook.StateConflictPaused)

	report, code = b.resume("device", "nosuch")
	require.Equal(t, 3, code)
	require.Equal(t, runbook.CodeNotFound, report.Refused[0].Code)
	require.NotNil(t, report.Resumed, "nothing is an empty list, not null")
}

func TestResumeSeveralByName(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	report, code := b.resume("device", "web-2", "web-4", "web-1", "web-2")
	require.Equal(t, 4, code, "some were refused")
	require.Equal(t, []string{"web-2", "web-1"}, report.Resumed)
	require.Len(t, report.Refused, 1)
	require.Equal(t, "web-4", report.Refused[0].Name)
}

func TestResumeBySelector(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	report, code := b.resume("devices", "-l", "site=nowhere")
	require.Equal(t, 3, code)
	require.Zero(t, report.Matched)
	report, code = b.resume("devices", "-l", "site=rome")
	require.Equal(t, 3, code, "it matches, but is not paused")
	require.Zero(t, report.Matched)
	require.Equal(t, 1, report.Skipped)

	report, code = b.resume("device", "--selector", "site=berlin", "--reason", "all checked")
	require.Equal(t, 0, code)
	require.Equal(t, []string{"web-1", "web-2"}, report.Resumed)
	require.Equal(t, 1, report.Skipped)
	require.Empty(t, report.Refused)

	report, code = b.resume("devices", "--field-selector", "status.summary.status=ConflictPaused,metadata.name!=web-9")
	require.Equal(t, 0, code)
	require.Equal(t, []string{"web-3"}, report.Resumed)
	_, code = b.resume("devices", "--all")
	require.Equal(t, 3, code)
}

func TestResumeAll(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	o := b.run("resume", "devices", "--all", "--as", "alice")
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "device/web-2: resumed, version 8 is rendered next (restored 5, reported 7)")
	require.Contains(t, o.stdout, "3 devices asked: 3 resumed, 0 refused; 2 more matched but are not paused")
	require.Equal(t, runbook.StateAwaitingReconnect, mustState(t, b, "web-4"), "who waits is left alone")
	require.Equal(t, 0, b.run("reconnect", "device", "web-4", "--rendered-version", "5").code)
	require.Contains(t, b.ok("get", "events", "-o", "wide"), "user:alice")
}

func mustState(t *testing.T, b *bench, name string) runbook.State {
	t.Helper()
	d, err := ask.PositionOf(t.Context(), b.store, runbook.DefaultOrgID, name)
	require.NoError(t, err)
	return d.State
}

func TestResumeDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	report, code := b.resume("devices", "--all", "--dry-run")
	require.Equal(t, 0, code)
	require.True(t, report.DryRun)
	require.Equal(t, []printer.PlannedDevice{
		{Name: "web-1", RestoredVersion: "5", ReportedVersion: "7", NextVersion: "8"},
		{Name: "web-2", RestoredVersion: "5", ReportedVersion: "7", NextVersion: "8"},
		{Name: "web-3", RestoredVersion: "5", ReportedVersion: "7", NextVersion: "8"},
	}, report.WouldResume)
	require.Equal(t, 2, report.Skipped)
	report, code = b.resume("device", "web-1", "web-4", "--dry-run")
	require.Equal(t, 4, code)
	require.Len(t, report.WouldResume, 1)
	report, code = b.resume("device", "web-1", "--dry-run", "--expect-version", "6")
	require.Equal(t, 4, code)
	require.Equal(t, runbook.CodeVersionChanged, report.Refused[0].Code)
	report, code = b.resume("device", "nosuch", "--dry-run")
	require.Equal(t, 3, code)
	require.Equal(t, runbook.CodeNotFound, report.Refused[0].Code)
	require.Contains(t, b.ok("resume", "device", "web-1", "--dry-run"), "would be resumed")
	require.Equal(t, int64(3), b.tally("first").Counts[runbook.StateConflictPaused])
	require.NotContains(t, b.ok("describe", "device", "web-1"), "resume  ", "nothing was asked")
}

// TestOfTwoResumesOneWins lets ten operators decide at once.
func TestOfTwoResumesOneWins(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	const operators = 10
	codes := make([]int, operators)
	messages := make([]string, operators)
	var wait sync.WaitGroup
	for i := range operators {
		wait.Go(func() {
			o := b.run("resume", "device", "web-1", "--as", "operator-"+string(rune('a'+i)))
			codes[i], messages[i] = o.code, o.stdout
		})
	}
	wait.Wait()
	won := 0
	for i, code := range codes {
		if code == 0 {
			won++
			continue
		}
		require.Contains(t, []int{3, 4}, code, messages[i])
		require.Regexp(t, `operator-. (has )?resumed`, messages[i], "the others are told who did")
	}
	require.Equal(t, 1, won)
}

// TestAResumeThatNobodyAnswersIsUnknownAndCanBeAskedAgain has no worker while the decision is sent.
func TestAResumeThatNobodyAnswersIsUnknownAndCanBeAskedAgain(t *testing.T) {
	t.Parallel()
	b, stopWorker := pausedBench(t)
	stopWorker()
	begin := time.Now()
	report, code := b.resume("device", "web-1", "--reason", "it's fine", "--timeout", "1s", "--request-id", "decision-1")
	require.Equal(t, 4, code)
	require.Less(t, time.Since(begin), 10*time.Second)
	require.Empty(t, report.Refused, "no one has said no")
	refused := report.Unknown[0]
	require.Equal(t, runbook.CodeOutcomeUnknown, refused.Code)
	require.Contains(t, refused.Message, "outcome unknown")
	require.Contains(t, refused.Message,
		`starter resume device web-1 --request-id decision-1 --as alice --reason 'it'\''s fine'`)

	b.work()
	b.until("web-1", runbook.StateNormal)
	report, code = b.resume("device", "web-1", "--request-id", "decision-1")
	require.Equal(t, 0, code, "asked again, it gets the first answer: %v", report.Refused)
	require.Equal(t, []string{"web-1"}, report.Resumed)
	_, code = b.resume("device", "web-1", "--request-id", "decision-2")
	require.Equal(t, 3, code)
}

func TestOtherVerbsSayThatTheirOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	b, stopWorker := pausedBench(t)
	stopWorker()
	refused := b.run("withdraw", "device", "web-4", "--timeout", "1s")
	require.Equal(t, 1, refused.code)
	require.Contains(t, refused.stderr, "neither deleted nor decommissioned", "what the database says needs no worker")
	refused = b.run("reconnect", "device", "web-4", "--rendered-version", "05", "--timeout", "1s")
	require.Equal(t, 1, refused.code)
	require.Contains(t, refused.stderr, `"05" is not a version`)
	unknown := b.run("reconnect", "device", "web-4", "--rendered-version", "5", "--timeout", "1s")
	require.Equal(t, 1, unknown.code)
	require.Contains(t, unknown.stderr, "outcome unknown: no answer within 1s; the decision may yet be carried out")
	require.Regexp(t, `starter reconnect device web-4 --request-id \S+ --as tester --rendered-version 5`, unknown.stderr)
	require.Empty(t, unknown.stdout)
	var wait sync.WaitGroup
	for _, line := range []string{"withdraw device web-4 --force --timeout 1s", "cancel first --reason x --timeout 1s"} {
		wait.Go(func() {
			o := b.run(strings.Fields(line)...)
			require.Equal(t, 1, o.code, line)
			require.Contains(t, o.stderr, "outcome unknown", line)
		})
	}
	wait.Go(func() {
		described := b.ok("describe", "device", "web-1")
		require.Contains(t, described, "is a worker running?")
		require.Contains(t, described, "AwaitingReconnect → ConflictPaused", "the audit tells the story")
	})
	wait.Wait()
}

func TestARestoreWithoutAWorkerIsStartedAndSaysSo(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.give(device{name: "web-1", version: "5"})
	o := b.run("restore", "--id", "first", "--timeout", "1s")
	require.Equal(t, 0, o.code, o.stderr)
	require.Equal(t, "restore first is started\n", o.stdout)
	require.Contains(t, o.stderr, "no worker on task queue")
	b.work()
	b.until("web-1", runbook.StateAwaitingReconnect)
	b.ok("cancel", "first", "--reason", "x")
}

// TestARestoreBeforeTheFirstWorker is started in a namespace in which no one has registered search attributes.
func TestARestoreBeforeTheFirstWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server = devtest.EmptyTemporal(t)
	b.client = b.server.Client(t)
	b.give(device{name: "web-1", version: "5"})
	o := b.run("restore", "--id", "first", "--timeout", "1s")
	require.Equal(t, 0, o.code, o.stderr)
	b.work()
	b.until("web-1", runbook.StateAwaitingReconnect)
	require.Eventually(t, func() bool {
		found, err := b.client.ListWorkflow(t.Context(),
			&workflowservice.ListWorkflowExecutionsRequest{Query: `RestoreId = "first" and WorkflowType = "RestoreWorkflow"`})
		return err == nil && len(found.GetExecutions()) == 1
	}, 2*time.Minute, 100*time.Millisecond, "the workflow has made itself searchable")
}

func TestAnInterruptedResumeSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	b, stopWorker := pausedBench(t)
	stopWorker()
	b.state = t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var asked atomic.Int32
	b.hooks = &hooks{update: func(string) {
		if asked.Add(1) == 3 {
			interrupt()
		}
	}}
	command := []string{"resume", "device", "web-1", "web-2", "web-3", "--as", "alice"}
	o := b.runWith(ctx, "", command...)
	b.hooks = nil
	require.Equal(t, 6, o.code, o.stderr)
	require.Equal(t, 3, strings.Count(o.stdout,
		"unknown (OutcomeUnknown): outcome unknown: interrupted before the answer came"), o.stdout)
	require.Contains(t, o.stdout, "3 devices asked: 0 resumed, 0 refused, 3 unknown")
	require.Contains(t, o.stderr, "the same command asks those that have not answered, under request id ")

	// The same command goes on with those who have not answered.
	b.work()
	again := b.run(append(command, "-o", "json")...)
	require.Equal(t, 0, again.code, again.stderr)
	require.Contains(t, again.stderr, "going on with the resume of")
	var report printer.ResumeReport
	again.json(t, &report)
	require.ElementsMatch(t, []string{"web-1", "web-2", "web-3"}, report.Resumed)
	b.nothingToGoOnWith()
	require.Equal(t, 3, b.run(command...).code)
}

// A decision is about the conflicts of one restore. What is left of a command before a newer restore is not gone on
// with: those who answered then are asked again.
func TestACommandOfAnOlderRestoreIsNotGoneOnWith(t *testing.T) {
	t.Parallel()
	b, stopWorker := pausedBench(t)
	stopWorker()
	b.state = t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	b.hooks = &hooks{update: func(string) { interrupt() }}
	command := []string{"resume", "device", "web-1", "web-2", "web-3", "--as", "alice"}
	require.Equal(t, 6, b.runWith(ctx, "", command...).code)
	b.hooks = nil
	left := b.leftToGoOnWith()
	require.Len(t, left, 1)
	file, err := os.OpenFile(left[0], os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		_, err = fmt.Fprintf(file, "{\"answered\":%q}\n", name)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())

	b.work()
	b.ok("restore", "--id", "second", "--supersede")
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		b.until(name, runbook.StateAwaitingReconnect)
		b.reported(name, "8", runbook.StateConflictPaused)
	}
	o := b.run(append(command, "-o", "json")...)
	require.Equal(t, 0, o.code, o.stderr)
	require.NotContains(t, o.stderr, "going on with")
	var report printer.ResumeReport
	o.json(t, &report)
	require.ElementsMatch(t, []string{"web-1", "web-2", "web-3"}, report.Resumed)
	require.Zero(t, report.AnsweredBefore)
}

// leftToGoOnWith are the files of commands that were left to be gone on with.
func (b *bench) leftToGoOnWith() []string {
	b.t.Helper()
	left, err := filepath.Glob(filepath.Join(b.state, "rollcall", "commands", "*"))
	require.NoError(b.t, err)
	return left
}

// nothingToGoOnWith checks that no command was left to be gone on with.
func (b *bench) nothingToGoOnWith() {
	b.t.Helper()
	require.Empty(b.t, b.leftToGoOnWith())
}

// What a killed command has left behind is gone on with: who has answered is not asked again.
func TestAKilledResumeIsGoneOnWith(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	b.state = t.TempDir()
	command := []string{"first", runbook.DefaultOrgID, "alice", "", "", "", "true"}
	j, err := ask.OpenJournal(filepath.Join(b.state, "rollcall", "commands"), b.database("resume"),
		append([]string{"resume"}, command...), time.Now())
	require.NoError(t, err)
	j.Asking("web-1", "7")
	j.Answered("web-1")
	j.Asking("web-2", "6") // which is not what it reports now
	report, code := b.resume("devices", "--all")
	require.Equal(t, 4, code)
	require.Equal(t, []string{"web-3"}, report.Resumed)
	require.Equal(t, 1, report.AnsweredBefore)
	require.Equal(t, runbook.CodeVersionChanged, report.Refused[0].Code, "the decision is about what was asked")
	require.Equal(t, runbook.StateConflictPaused, mustState(t, b, "web-1"), "it has answered, and is not asked again")
	// All have answered now: the next one is a new decision.
	report, code = b.resume("devices", "--all")
	require.Equal(t, 0, code)
	require.ElementsMatch(t, []string{"web-1", "web-2"}, report.Resumed)
}

// TestAFleetWhoseWorkersAreAwayIsNotAskedToTheLast keeps a decision from lying in wait for devices by the thousand.
func TestAFleetWhoseWorkersAreAwayIsNotAskedToTheLast(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	stopWorker := b.work()
	const fleet = ask.AsksAtOnce + 8
	var devices []device
	for i := range fleet {
		devices = append(devices, device{name: fmt.Sprintf("web-%02d", i), version: "5"})
	}
	b.give(devices...)
	b.restored("first")
	for _, d := range devices {
		b.ok("reconnect", "device", d.name, "--rendered-version", "7")
	}
	for _, d := range devices {
		b.until(d.name, runbook.StateConflictPaused)
	}
	stopWorker()
	b.terminal = true
	command := []string{"resume", "device", "--timeout", "1s"}
	for _, d := range devices {
		command = append(command, d.name)
	}
	o := b.run(command...)
	require.Equal(t, 4, o.code, o.stderr)
	require.Equal(t, ask.AsksAtOnce, strings.Count(o.stdout, "OutcomeUnknown"))
	require.Equal(t, 8, strings.Count(o.stdout, ": not asked: none of the devices asked before has answered"))
	require.Contains(t, o.stdout, "32 devices asked: 0 resumed, 0 refused, 32 unknown, 8 not asked")
	require.Contains(t, o.stderr, "40/40", "a person sees that something happens")
}

// TestNamesThatAreNotPlain lets names travel through SQL, workflow ids and shells.
func TestNamesThatAreNotPlain(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	names := []string{"a'b; rm -rf $(x)", "two words", "device/web", "%2F?x=1#y", strings.Repeat("n", 253)}
	for _, name := range names {
		_, err := b.store.DB().ExecContext(t.Context(),
			`insert into devices (org_id, name, annotations, status) values ($1, $2,
				'{"device-controller/renderedVersion": "5"}', '{}')`,
			runbook.DefaultOrgID, name)
		require.NoError(t, err)
	}
	b.restored("first")
	for _, name := range names {
		b.reported(name, "7", runbook.StateConflictPaused)
		require.Contains(t, b.ok("describe", "device", name), printer.Quote(name))
		require.Contains(t, b.ok("get", "device", name), name[:1])
		require.Equal(t, "device/"+name+"\n", b.ok("get", "device/"+name, "-o", "name"))
		report, code := b.resume("device", name, "--expect-version", "7")
		require.Equal(t, 0, code, name)
		require.Equal(t, []string{name}, report.Resumed)
	}
}
