package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// What a crash leaves between the database and Temporal is found by the inventory watch within a minute, and no device
// keeps the restore open.
func TestTheWatchMendsWhatACrashLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{
		"decided": "5", "put-back": "5", "ahead": "5",
	}).request("approved", "7", pending)
	s.putBack = true
	run := s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "1s"})
	for _, name := range []string{"decided", "put-back", "ahead"} {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("approved")) })
	s.reports("decided", "7")
	s.await("decided", runbook.StateConflictPaused)
	s.reports("ahead", "7")
	s.await("ahead", runbook.StateConflictPaused)
	s.reports("put-back", "5")
	s.eventually("put-back is back", func() bool { return !s.runs(deviceID("put-back")) })

	// A decision that reached the database, and whose update Temporal has forgotten.
	decision, err := s.working.Resume(t.Context(), inventory.ResumeInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "decided", By: "alice", RequestID: "update/lost",
	})
	require.NoError(t, err)
	require.True(t, decision.Applied)
	// The same with an approval.
	approval, err := s.working.Approve(t.Context(),
		inventory.ApproveInput{OrgID: runbook.DefaultOrgID, Name: "approved", By: "alice", RequestID: "update/lost"})
	require.NoError(t, err)
	require.Equal(t, "r1", approval.RestoreID)
	// PostgreSQL without its last commits.
	for _, name := range []string{"put-back", "ahead"} {
		s.owner.DB().MustExec(`update rollcall.roll set state = 'AwaitingReconnect', reported_version = null,
			since = (select rolled_at from rollcall.restores where id = 'r1') where name = $1`, name)
		s.owner.DB().MustExec(`update devices set annotations = annotations - 'device-controller/conflictPaused' ||
			'{"device-controller/awaitingReconnect": "true"}'
			where name = $1`, name)
	}
	s.owner.DB().MustExec(`
begin;
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where name in ('put-back', 'ahead') and transition <> 'T1';
commit`)

	s.await("put-back", runbook.StateAwaitingReconnect)
	s.await("ahead", runbook.StateAwaitingReconnect)
	s.await("approved", runbook.StateAwaitingReconnect)
	for _, name := range []string{"put-back", "ahead", "approved"} {
		s.reports(name, "0")
	}
	s.eventually("the decision's workflow has heard of it", func() bool { return !s.runs(deviceID("decided")) })
	status, err := s.result(run)
	require.NoError(t, err)
	require.EqualValues(t, 4, status.Counts[runbook.StateNormal])
	for _, name := range []string{"put-back", "ahead"} {
		rows, err := s.store.Transitions(t.Context(), runbook.DefaultOrgID, name, 0)
		require.NoError(t, err)
		var lost int
		for _, row := range rows {
			if row.Code == runbook.CodeLost {
				lost++
			}
		}
		require.Equal(t, 1, lost, "what was acknowledged is named: %s", name)
	}
	var device runbook.DeviceResult
	require.NoError(t, s.client.GetWorkflow(t.Context(), deviceID("decided"), "").Get(t.Context(), &device))
	require.Equal(t, "alice", device.By)
	require.EqualValues(t, 2, s.tally("r1").Lost)
}

// A device had left the roll call, and PostgreSQL is put back to before the device was on the roll. The roll is made
// again, and how the device had left is named.
func TestHowADeviceLeftIsNamedThoughItsPlaceWasLost(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-1": "5", "web-2": "5"})
	s.putBack = true
	s.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "1s"})
	s.await("web-2", runbook.StateAwaitingReconnect)
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.reports("web-1", "7")
	s.await("web-1", runbook.StateConflictPaused)
	decision, err := s.resume("web-1", "u1", runbook.ResumeRequest{By: "alice"})
	require.NoError(t, err)
	require.True(t, decision.Accepted)
	s.eventually("web-1 has left", func() bool { return !s.runs(deviceID("web-1")) })

	s.owner.DB().MustExec(`
begin;
update devices set annotations = '{"device-controller/renderedVersion": "5"}' where name = 'web-1';
set local session_replication_role = replica; -- the audit can only be appended to
delete from rollcall.transitions where name = 'web-1';
delete from rollcall.roll where name = 'web-1';
update rollcall.restores set rolled_at = null;
commit`)
	s.await("web-1", runbook.StateAwaitingReconnect)
	s.eventually("how it left is named", func() bool { return s.tally("r1").Lost == 1 })
	require.Equal(t, []string{"web-1 resumed alice7"}, s.lostEntries())
}
