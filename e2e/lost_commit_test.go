package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/activities"
	"rollcall/internal/invariants"
	"rollcall/inventory"
	"rollcall/runbook"
)

// putBackRequests puts the database back to before decisions about requests of the backup. Their devices are gone with
// their places on the roll.
func (s *site) putBackRequests(names string) {
	s.t.Helper()
	s.owner.DB().MustExec(`
begin;
delete from devices where name in (` + names + `);
delete from device_timestamps where name in (` + names + `);
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where name in (` + names + `);
with gone as (delete from rollcall.roll where name in (` + names + `) returning 1)
update rollcall.restores set total = total - (select count(*) from gone);
update enrollment_requests set status = '{"conditions": []}',
    annotations = '{"device-controller/awaitingReconnect": "true"}' where name in (` + names + `);
commit`)
}

// PostgreSQL fails over and loses the last commits: an approval, a denial and a report. The database's state stands,
// what was acknowledged is named, and the requests can be decided again.
func TestDecisionsThatTheDatabaseHasLostCanBeTakenAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).request("late", "7", pending).request("denied",
		"7", pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "1s"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("the requests have workflows", func() bool {
		return s.runs(enrollmentID("late")) && s.runs(enrollmentID("denied"))
	})
	require.True(t, s.approve("late", "alice").Accepted)
	require.True(t, s.decide("denied", runbook.UpdateDeny, "d", runbook.DenyRequest{By: "alice"}).Accepted)
	s.await("late", runbook.StateAwaitingReconnect)
	s.reports("late", "8")
	s.await("late", runbook.StateConflictPaused)

	s.putBackRequests("'late', 'denied'")
	s.eventually("no workflow waits for the device", func() bool { return !s.runs(deviceID("late")) })
	s.eventually("what was acknowledged is named", func() bool { return s.tally("r1").Lost == 3 })
	s.eventually("the requests wait", func() bool {
		return s.runs(enrollmentID("late")) && s.runs(enrollmentID("denied"))
	})
	require.ElementsMatch(t, []string{"late reconnect 8", "late approve alice", "denied deny alice"}, s.lostEntries())

	require.True(t, s.approve("late", "bob").Accepted)
	require.True(t, s.approve("denied", "bob").Accepted)
	for _, name := range []string{"late", "denied"} {
		s.await(name, runbook.StateAwaitingReconnect)
		s.reports(name, "0")
	}
	s.reports("web-1", "5")
	status, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 3, status.Counts[runbook.StateNormal])
	require.Equal(t, "bob", s.enrolled("late").Decision.By)
}

// lostEntries are the entries of the audit that name what was lost.
func (s *site) lostEntries() (lost []string) {
	s.t.Helper()
	rows, err := s.store.Audit(s.t.Context(), inventory.AuditQuery{Refused: true})
	require.NoError(s.t, err)
	for _, row := range rows {
		if row.Code == runbook.CodeLost {
			lost = append(lost, row.Name+" "+row.Signal+" "+row.Actor+row.Reported)
		}
	}
	return lost
}

// putBackDevices puts the database back to before devices were heard of.
func (s *site) putBackDevices(names string) {
	s.t.Helper()
	s.owner.DB().MustExec(`
begin;
update devices set annotations = (annotations - 'device-controller/conflictPaused')
    || '{"device-controller/awaitingReconnect": "true"}' where name in (` + names + `);
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where transition <> 'T1' and name in (` + names + `);
update rollcall.roll set state = 'AwaitingReconnect', since = started_at, reported_version = null, next_version = null,
    resumed_by = null, resumed_reason = null, resumed_at = null
from rollcall.restores where restores.id = roll.restore_id and roll.name in (` + names + `);
commit`)
}

// callAgain starts a device's workflow as its batch does where the roll was made again.
func (s *site) callAgain(name string) {
	s.t.Helper()
	entry, err := s.store.WaitingEntry(s.t.Context(), "r1", runbook.DefaultOrgID, name)
	require.NoError(s.t, err)
	require.NotNil(s.t, entry)
	require.NoError(s.t, activities.StartDevice(s.t.Context(), s.client, s.taskQueue, "r1", "test", *entry))
}

// PostgreSQL fails over and loses how devices have left the roll call. Another hand than the watch starts their
// workflows again, and one device leaves again at once. What was acknowledged is named, with the person.
func TestOutcomesThatTheDatabaseHasLostAreNamed(t *testing.T) {
	t.Parallel()
	for every, watched := range map[string]bool{"1s": true, "0": false} {
		t.Run("watch every "+every, func(t *testing.T) {
			t.Parallel()
			s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5", "web-4": "5"})
			run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: every})
			for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
				s.await(name, runbook.StateAwaitingReconnect)
			}
			s.reports("web-1", "5")
			s.signal("web-2", runbook.SignalWithdraw, runbook.WithdrawRequest{By: "alice", Force: true})
			s.reports("web-3", "7")
			s.await("web-3", runbook.StateConflictPaused)
			_, err := s.resume("web-3", "u1", runbook.ResumeRequest{By: "bob"})
			require.NoError(t, err)
			for _, name := range []string{"web-1", "web-2", "web-3"} {
				s.eventually(name+" has left", func() bool { return !s.runs(deviceID(name)) })
			}
			require.Zero(t, s.tally("r1").Lost)

			s.putBackDevices("'web-1', 'web-2', 'web-3'")
			for _, name := range []string{"web-1", "web-2", "web-3"} {
				s.callAgain(name)
			}
			s.reports("web-1", "4")
			want := []string{"web-1 normal 5", "web-2 withdrawn alice", "web-3 resumed bob7"}
			if watched {
				s.eventually("what was acknowledged is named", func() bool { return s.tally("r1").Lost == 3 })
				require.ElementsMatch(t, want, s.lostEntries())
			}
			for _, name := range []string{"web-2", "web-3", "web-4"} {
				s.reports(name, "5")
			}
			status, err := s.result(run)
			require.NoError(t, err)
			require.EqualValues(t, 3, status.Lost)
			require.ElementsMatch(t, want, s.lostEntries())
		})
	}
}

// PostgreSQL fails over and loses that requests were denied. One was lost itself, and the other is decided again before
// the watch looks.
func TestLostDecisionsAreNamedThoughTheRequestIsDecidedAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"}).request("again", "7", pending).request("gone",
		"7", pending)
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	for _, name := range []string{"again", "gone"} {
		s.eventually("the requests have workflows", func() bool { return s.runs(enrollmentID(name)) })
		require.True(t, s.decide(name, runbook.UpdateDeny, "d", runbook.DenyRequest{By: "alice"}).Accepted)
		s.eventually("the workflow has ended", func() bool { return !s.runs(enrollmentID(name)) })
	}
	s.putBackRequests("'again', 'gone'")
	s.owner.DB().MustExec(`delete from enrollment_requests where name = 'gone'`)
	s.enroll("again")
	require.True(t, s.approve("again", "bob").Accepted)
	s.await("again", runbook.StateAwaitingReconnect)
	s.reports("again", "0")
	s.reports("web-1", "5")
	status, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Lost)
	require.ElementsMatch(t, []string{"again deny alice", "gone deny alice"}, s.lostEntries())
}

// A restore had ended, and the database does not know it any more. It is taken up again, and that is named.
func TestAnEndThatTheDatabaseHasLostIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.reports("web-1", "5")
	_, err := s.result(run)
	require.NoError(t, err)
	s.eventually("the search index shows the end", func() bool {
		page, err := s.client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowId = 'restore/r1' AND ExecutionStatus = 'Completed'",
		})
		return err == nil && len(page.GetExecutions()) == 1
	})
	require.Zero(t, s.tally("r1").Lost)
	s.owner.DB().MustExec(`update rollcall.restores set state = 'Running', finished_at = null`)
	status, err := s.result(s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"}))
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreCompleted, status.State)
	require.EqualValues(t, 1, s.tally("r1").Lost)
	rows, err := s.store.Audit(t.Context(), inventory.AuditQuery{RestoreID: "r1", Refused: true})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Contains(t, rows[0].Message, "restore r1 was completed, and the database does not know it any more")
}

// PostgreSQL fails over and loses that a restore was cancelled. It is taken up again, and that is named. A cancellation
// that the database knows is not.
func TestACancelThatTheDatabaseHasLostIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5"})
	cancelled := func(run client.WorkflowRun) {
		t.Helper()
		s.await("web-1", runbook.StateAwaitingReconnect)
		require.NoError(t, s.client.SignalWorkflow(t.Context(), run.GetID(), "", runbook.SignalCancel,
			runbook.CancelSignal{By: "alice", Reason: "wrong backup"}))
		_, err := s.result(run)
		require.True(t, temporal.IsCanceledError(err), err)
		s.eventually("the search index shows the end", func() bool {
			page, err := s.client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
				Query: fmt.Sprintf("RunId = '%s' AND ExecutionStatus = 'Canceled'", run.GetRunID()),
			})
			return err == nil && len(page.GetExecutions()) == 1
		})
	}
	cancelled(s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"}))
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"})
	cancelled(run)
	require.Zero(t, s.tally("r1").Lost)
	s.owner.DB().MustExec(`
begin;
update rollcall.restores set state = 'Running', finished_at = null, closed_by = '', reason = '';
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where signal = 'cancel' and position('` + run.GetRunID() + `' in request_id) > 0;
commit`)
	run = s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	require.EqualValues(t, 1, s.tally("r1").Lost)
	rows, err := s.store.Audit(t.Context(), inventory.AuditQuery{RestoreID: "r1", Refused: true})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Contains(t, rows[0].Message, "restore r1 was cancelled, and the database does not know it any more")
	s.reports("web-1", "5")
	_, err = s.result(run)
	require.NoError(t, err)
}

// PostgreSQL is put back to before a restore began, and another one is started. The workflows of the first hold the
// ids of the devices, and none of these says anything. They end, and each device has a workflow of the second.
func TestARestoreThatTheDatabaseHasLostMakesWayForTheNextOne(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5", "web-2": "5"})
	first := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "1s"})
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.await("web-2", runbook.StateAwaitingReconnect)
	s.owner.DB().MustExec(`
begin;
update devices set annotations = annotations - 'device-controller/awaitingReconnect';
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions;
delete from rollcall.roll;
delete from rollcall.restores;
commit`)
	checker := invariants.Checker{DB: s.owner.DB(), Temporal: s.client, Settle: -1}
	s.eventually("it is found", func() bool {
		found, err := checker.Workflows(t.Context())
		return err == nil && len(found) == 1 && found[0].Invariant == invariants.WorkflowRuns &&
			found[0].RestoreID == "r1" && !found[0].Missing
	})

	run := s.restore(runbook.RestoreInput{RestoreID: "r2", WatchInterval: "1s"})
	for _, name := range []string{"web-1", "web-2"} {
		s.eventually(name+" waits in the second restore", func() bool {
			status, err := s.status(name)
			return err == nil && status.RestoreID == "r2" && s.runs(deviceID(name))
		})
		s.reports(name, "5")
	}
	status, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Counts[runbook.StateNormal])
	_, err = s.result(first)
	require.ErrorContains(t, err, "there is no restore")
}

// The end of the roll and a part of it are lost while the roll call runs. The watch makes the roll again.
func TestARollWhoseEndWasLostIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"kept": "5", "lost": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "1s"})
	s.await("kept", runbook.StateAwaitingReconnect)
	s.await("lost", runbook.StateAwaitingReconnect)
	s.owner.DB().MustExec(`
begin;
update devices set annotations = annotations - 'device-controller/awaitingReconnect' where name = 'lost';
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where name = 'lost';
delete from rollcall.roll where name = 'lost';
update rollcall.restores set rolled_at = null, total = 0;
commit`)
	s.eventually("the roll is made", func() bool {
		return s.holds(`select rolled_at is not null and total = 2 from rollcall.restores`)
	})
	require.True(t, s.holds(`
		select rollcall.device_state(annotations) = 'AwaitingReconnect' from devices where name = 'lost'`))
	for _, name := range []string{"kept", "lost"} {
		s.await(name, runbook.StateAwaitingReconnect)
		s.reports(name, "5")
	}
	status, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Counts[runbook.StateNormal])
}
