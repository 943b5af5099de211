package e2e

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// What a live Flight Control does to a device, in the SQL of its API server.
const (
	fcPolls    = `update device_timestamps set last_seen = now() where name = $1`
	fcReleases = `update devices set annotations = annotations - 'device-controller/awaitingReconnect',
		status = jsonb_set(status, '{summary,status}', '"Online"'), resource_version = resource_version + 1,
		updated_at = now() where name = $1`
	fcPauses = `update devices set annotations = annotations - 'device-controller/awaitingReconnect' ||
		'{"device-controller/conflictPaused": "true"}',
		status = status || '{"summary": {"status": "ConflictPaused"}, "config": {"renderedVersion": "7"}}',
		resource_version = resource_version + 1, updated_at = now() where name = $1`
	fcResumes = `update devices set annotations = annotations - 'device-controller/conflictPaused',
		status = jsonb_set(status, '{summary,status}', '"Online"'), resource_version = resource_version + 1,
		updated_at = now() where name = $1`
	fcDeletes       = `update devices set deleted_at = now() where name = $1`
	fcRemoves       = `delete from devices where name = $1`
	fcDecommissions = `update devices set status = jsonb_set(status, '{lifecycle}', '{"status": "Decommissioning"}'),
		resource_version = resource_version + 1, updated_at = now() where name = $1`
)

// notes is a report of a device whose workflow the gateway has not found.
func (s *site) notes(name, version string) {
	s.t.Helper()
	noted, err := s.open(roles.Gateway).NoteReports(s.t.Context(), runbook.DefaultOrgID,
		[]inventory.NoteReportInput{{RestoreID: "r1", Name: name, Version: version}})
	require.NoError(s.t, err)
	require.Len(s.t, noted, 1)
}

// fcReports is a status as an agent that runs a version puts it, in the device's row.
func (s *site) fcReports(name, version string) {
	s.t.Helper()
	_, err := s.owner.DB().ExecContext(s.t.Context(), `update devices set
		status = jsonb_set(status, '{config}', jsonb_build_object('renderedVersion', cast($2 as text))),
		resource_version = resource_version + 1, updated_at = now() where name = $1`, name, version)
	require.NoError(s.t, err)
	s.flightControl(fcPolls, name)
}

func (s *site) flightControl(statement, name string) {
	s.t.Helper()
	_, err := s.owner.DB().ExecContext(s.t.Context(), statement, name)
	require.NoError(s.t, err)
}

// newFlightctlSite is a site on a database that Flight Control's own migration made.
func newFlightctlSite(t *testing.T) *site {
	t.Helper()
	tables, err := os.ReadFile(filepath.Join("..", "inventory", "testdata", "flightctl.sql"))
	require.NoError(t, err)
	s := &site{t: t, database: devtest.EmptyDatabase(t), server: devtest.Temporal(t), taskQueue: devtest.TaskQueue(t)}
	store, err := inventory.Open(t.Context(), s.database)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = store.DB().ExecContext(t.Context(), string(tables))
	require.NoError(t, err)
	_, err = inventory.Migrate(t.Context(), s.database)
	require.NoError(t, err)
	require.NoError(t, inventory.CreateRoles(t.Context(), s.database))
	// A trigger that someone has added to a table of Flight Control writes with the rights of the role.
	_, err = store.DB().ExecContext(t.Context(),
		`grant select, insert, update on event_counts to rollcall_worker, rollcall_gateway`)
	require.NoError(t, err)
	s.store, s.working, s.owner, s.client = s.open(roles.Operator), s.open(roles.Worker), store, s.server.Client(t)
	return s
}

// watched is a Flight Control site whose devices, all at version 5, wait in a restore that watches the inventory.
func watched(t *testing.T, names ...string) (*site, func() runbook.RestoreStatus) {
	t.Helper()
	versions := map[string]string{}
	for _, name := range names {
		versions[name] = "5"
	}
	s := newFlightctlSite(t).startWorker().fleet(versions)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", BatchSize: 3, WatchInterval: "100ms"})
	for _, name := range names {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	return s, func() runbook.RestoreStatus {
		t.Helper()
		status, err := s.result(run)
		require.NoError(t, err)
		require.Equal(t, runbook.RestoreCompleted, status.State)
		require.Equal(t, status.Counts, s.tally("r1").Counts)
		return status
	}
}

// outcome waits for the end of a device's workflow.
func (s *site) outcome(name string) runbook.DeviceResult {
	s.t.Helper()
	var result runbook.DeviceResult
	require.NoError(s.t, s.client.GetWorkflow(s.t.Context(), deviceID(name), "").Get(s.t.Context(), &result))
	return result
}

// audited is the transitions of a device, each with its actor, but for T1.
func (s *site) audited(name string) []string {
	s.t.Helper()
	var lines []string
	require.NoError(s.t, s.owner.DB().SelectContext(s.t.Context(), &lines,
		`select transition || ' ' || signal || ' ' || actor from rollcall.transitions where name = $1 and transition <> 'T1'
			order by id`, name))
	return lines
}

// What the gateway has noted is told to the workflows, and what has left the inventory leaves the roll call. What
// another hand does to annotations is neither a report nor a decision.
func TestTheWatchOfARestoreThatStandsAlone(t *testing.T) {
	t.Parallel()
	const ours, theirs = "agent", "service:flightctl"
	s, completed := watched(t, "noted", "newer", "unreadable", "row", "released", "paused", "resumed", "deleted",
		"removed", "decommissioned")
	s.fcReports("row", "5")
	s.notes("noted", "5")
	s.notes("newer", "7")
	s.notes("resumed", "7")
	s.notes("unreadable", "v7")
	s.flightControl(fcReleases, "released")
	s.flightControl(fcPauses, "paused")
	s.flightControl(fcDeletes, "deleted")
	s.flightControl(fcRemoves, "removed")
	s.flightControl(fcDecommissions, "decommissioned")

	require.Equal(t, runbook.OutcomeNormal, s.outcome("noted").Outcome)
	for _, name := range []string{"deleted", "removed", "decommissioned"} {
		require.Equal(t, runbook.OutcomeWithdrawn, s.outcome(name).Outcome, name)
		require.Equal(t, []string{"T5 look " + theirs}, s.audited(name))
	}
	for _, name := range []string{"newer", "resumed"} {
		s.await(name, runbook.StateConflictPaused)
	}
	s.flightControl(fcResumes, "resumed")
	s.eventually("the refusal is seen", func() bool {
		status, err := s.status("unreadable")
		return err == nil && len(status.Timeline) == 1 && status.Timeline[0].Code == runbook.CodeInvalidVersion
	})
	for _, name := range []string{"newer", "resumed"} {
		decision, err := s.resume(name, "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
		require.NoError(t, err)
		require.Equal(t, "8", decision.Next)
	}

	for _, name := range []string{"row", "released", "paused"} {
		status, err := s.status(name)
		require.NoError(t, err)
		require.Equal(t, runbook.StateAwaitingReconnect, status.State, name)
		require.Empty(t, status.Timeline, "what stands in its row is no report")
	}
	unreadable, err := s.status("unreadable")
	require.NoError(t, err)
	require.Len(t, unreadable.Timeline, 1)
	require.LessOrEqual(t, unreadable.Timeline[0].Times, 1, "a version that was refused is not signalled again")
	for _, name := range []string{"row", "released", "paused"} {
		s.notes(name, "4")
	}
	s.notes("unreadable", "5")
	status := completed()
	require.EqualValues(t, 7, status.Counts[runbook.StateNormal])
	require.EqualValues(t, 3, status.Counts[runbook.StateWithdrawn])

	for _, name := range []string{"noted", "released", "paused"} {
		require.Equal(t, []string{"T2 reconnect " + ours}, s.audited(name))
	}
	for _, name := range []string{"newer", "resumed"} {
		require.Equal(t, []string{"T3 reconnect " + ours, "T4 resume alice"}, s.audited(name))
	}
}

func TestTheWatchSurvivesItsWorker(t *testing.T) {
	t.Parallel()
	s, completed := watched(t, "before", "while-away", "after")
	s.notes("before", "5")
	require.Equal(t, runbook.OutcomeNormal, s.outcome("before").Outcome)
	s.stopWorker()
	s.notes("while-away", "5")
	s.startWorker()
	require.Equal(t, runbook.OutcomeNormal, s.outcome("while-away").Outcome)
	s.notes("after", "5")
	completed()
}

// A worker that is killed says nothing: only the missing heartbeat tells.
func TestTheWatchSurvivesTheDeathOfItsWorker(t *testing.T) {
	t.Parallel()
	s := newFlightctlSite(t).fleet(map[string]string{"before": "5", "while-dead": "5", "after": "7"})
	kill := s.startMortalWorker()
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "100ms"})
	s.await("before", runbook.StateAwaitingReconnect)
	s.notes("before", "5")
	require.Equal(t, runbook.OutcomeNormal, s.outcome("before").Outcome)
	kill()
	s.notes("while-dead", "5")
	s.startWorker()
	require.Equal(t, runbook.OutcomeNormal, s.outcome("while-dead").Outcome)
	s.notes("after", "5")
	_, err := s.result(run)
	require.NoError(t, err)
	for _, name := range []string{"before", "while-dead", "after"} {
		require.Equal(t, []string{"T2 reconnect agent"}, s.audited(name))
	}
}

// mortalWorker is the variable by which this test binary becomes a worker: database, Temporal address, namespace, task
// queue.
const mortalWorker = "ROLLCALL_E2E_WORKER"

func TestHelperMortalWorker(t *testing.T) {
	of := strings.Split(os.Getenv(mortalWorker), " ")
	if len(of) != 4 {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the one who kills us is gone
		os.Exit(1)
	}()
	store, err := inventory.Open(t.Context(), of[0])
	require.NoError(t, err)
	server := devtest.Server{Address: of[1], Namespace: of[2]}
	h, err := host.New(t.Context(), host.Config{
		Client: server.Client(t), Store: store, Namespace: server.Namespace, TaskQueue: of[3],
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, h.Run(t.Context()))
}

// startMortalWorker starts a worker in a process of its own; kill leaves it no time for anything.
func (s *site) startMortalWorker() (kill func()) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), os.Args[0], "-test.run=^TestHelperMortalWorker$")
	cmd.Env = append(os.Environ(),
		mortalWorker+"="+strings.Join([]string{
			devtest.As(s.t, s.database, roles.Worker), s.server.Address,
			s.server.Namespace, s.taskQueue,
		}, " "))
	_, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	return func() {
		require.NoError(s.t, cmd.Process.Kill())
		require.Error(s.t, cmd.Wait())
	}
}

// steps counts the events of a history, workflow tasks left out: into how many of these the same events fall is a
// matter of how busy the machine is.
func (s *site) steps(workflowID string) (n int) {
	s.t.Helper()
	for _, event := range s.events(workflowID, "") {
		if !strings.HasPrefix(event.GetEventType().String(), "WorkflowTask") {
			n++
		}
	}
	return n
}

// A restore's history does not grow with the looks of its watch, and that of a device not at all.
func TestTheWatchAddsAFewEventsOnly(t *testing.T) {
	t.Parallel()
	count := func(interval string) (restore, device int) {
		s := newSite(t).startWorker().fleet(map[string]string{"a": "5"})
		run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: interval})
		s.await("a", runbook.StateAwaitingReconnect)
		s.reports("a", "5")
		_, err := s.result(run)
		require.NoError(t, err)
		return s.steps(runbook.RestoreWorkflowID("r1")), s.steps(deviceID("a"))
	}
	without, device := count("0")
	with, deviceWith := count("100ms")
	require.Equal(t, device, deviceWith)
	require.LessOrEqual(t, with-without, 6,
		"the watch has a version with its search attribute, is scheduled, starts, is asked to stop, and may end in time to "+
			"be told of")
	t.Logf("events of a restore: %d without a watch, %d with one", without, with)
}
