package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/host"
	"rollcall/runbook"
)

// rival is a Flight Control on the site's database: its key-value store, its comparison at a poll, its resume and its
// rendering, as far as a roll call meets them.
type rival struct {
	*site
	mu    sync.Mutex
	marks map[string]bool
	calls int
	// dies makes the next resume end between its statement and its events, without an answer.
	dies bool
}

func (f *rival) MarkAwaiting(_ context.Context, _ string, names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		f.marks[name] = true
	}
	return nil
}

func (f *rival) MissingAwaiting(_ context.Context, _ string, names []string) (missing []string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		if !f.marks[name] {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func (f *rival) Wake(context.Context, string, []string) error { return nil }

func (f *rival) Resume(ctx context.Context, _ string, names []string, id string) (resumed int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	for _, name := range names {
		result, err := f.owner.DB().ExecContext(ctx, `update devices
			set annotations = annotations - 'device-controller/conflictPaused' - 'device-controller/renderedSpecHash'
			where name = $1 and annotations ? 'device-controller/conflictPaused'`, name)
		if err != nil {
			return resumed, err
		}
		n, _ := result.RowsAffected()
		resumed += int(n)
		if n == 0 || f.dies {
			continue
		}
		_, err = f.owner.DB().ExecContext(ctx, `with told as (
				insert into events (org_id, name, reason, source_component, involved_object_kind, involved_object_name, annotations,
				created_at)
				select org_id, $2 || name, 'DeviceConflictResolved', 'flightctl-api', 'Device', name,
				jsonb_build_object('event-controller/requestID', cast($2 as text)), now() from devices where name = $1)
			update devices set annotations = annotations || jsonb_build_object('device-controller/renderedVersion',
				cast(1 + greatest(cast(annotations ->> 'device-controller/renderedVersion' as int),
				cast(status -> 'config' ->> 'renderedVersion' as int)) as text)) where name = $1`, name, id)
		if err != nil {
			return resumed, err
		}
	}
	if f.dies {
		f.dies = false
		return 0, errors.New("outcome unknown: the connection broke")
	}
	return resumed, nil
}

// Approve makes the device and the approval as Flight Control does, and loses its answer.
func (f *rival) Approve(ctx context.Context, _, name string, _ map[string]string, _ bool) error {
	_, err := f.owner.DB().ExecContext(ctx, `with made as (
			insert into devices (org_id, name, annotations, status, generation, resource_version, created_at, updated_at)
			select org_id, name, jsonb_build_object('device-controller/awaitingReconnect', 'true'),
			'{"config": {"renderedVersion": ""}}', 1, 1, now(), now()
			from enrollment_requests where name = $1 and annotations ->> 'device-controller/awaitingReconnect' = 'true')
		update enrollment_requests set status =
		'{"approval": {"approved": true, "approvedBy": "rollcall"}, "certificate": "x"}' where name = $1`, name)
	if err != nil {
		return err
	}
	return errors.New("outcome unknown: the connection broke")
}

func (f *rival) DeleteEnrollmentRequest(context.Context, string, string) error { return nil }

func (f *rival) User(context.Context, string) (string, error) { return "rollcall", nil }

func (f *rival) Decommission(_ context.Context, _, name, target string) error {
	if target != runbook.DecommissionUnenroll {
		return errors.New("another target was asked for")
	}
	f.flightControl(fcDecommissions, name)
	return errors.New("outcome unknown: the connection broke")
}

// polls is a poll of a device that runs a version: compared only where the device is marked.
func (f *rival) polls(name, version string) {
	f.t.Helper()
	f.mu.Lock()
	marked := f.marks[name]
	delete(f.marks, name)
	f.mu.Unlock()
	if !marked {
		return
	}
	_, err := f.owner.DB().ExecContext(f.t.Context(), `update devices set
		annotations = (annotations - 'device-controller/awaitingReconnect') || case when cast($2 as int) > cast(annotations
		->> 'device-controller/renderedVersion' as int)
			then '{"device-controller/conflictPaused": "true"}' else '{}'::jsonb end,
		status = jsonb_set(status, '{config,renderedVersion}', to_jsonb(cast($2 as text))),
		resource_version = resource_version + 1
		where name = $1 and annotations ? 'device-controller/awaitingReconnect'`, name, version)
	require.NoError(f.t, err)
}

// beside is a site with a worker beside a Flight Control, whose devices wait in a restore r1.
func beside(t *testing.T, fleet map[string]string) (*rival, func() runbook.RestoreStatus) {
	t.Helper()
	f := &rival{site: newFlightctlSite(t), marks: map[string]bool{}}
	f.startWorker(func(cfg *host.Config) { cfg.Flightctl = f }).fleet(fleet)
	run := f.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "100ms"})
	for name := range fleet {
		f.await(name, runbook.StateAwaitingReconnect)
	}
	return f, func() runbook.RestoreStatus {
		t.Helper()
		status, err := f.result(run)
		require.NoError(t, err)
		require.Equal(t, runbook.RestoreCompleted, status.State)
		require.Equal(t, runbook.ModeFlightctl, status.Mode)
		return status
	}
}

func TestARollCallBesideFlightControl(t *testing.T) {
	t.Parallel()
	f, completed := beside(t, map[string]string{"equal": "5", "ahead": "5", "unlucky": "5", "lost": "5", "scrapped": "5"})
	for _, name := range []string{"equal", "ahead", "unlucky", "lost"} {
		f.fcReports(name, "5") // in its row, where it is the backup's
	}
	f.mu.Lock()
	delete(f.marks, "lost")
	f.mu.Unlock()
	f.eventually("a lost mark is put back", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.marks["lost"]
	})
	f.polls("equal", "5")
	f.polls("ahead", "7")
	f.polls("unlucky", "7")
	require.Equal(t, runbook.OutcomeNormal, f.outcome("equal").Outcome)
	f.await("ahead", runbook.StateConflictPaused)
	f.await("unlucky", runbook.StateConflictPaused)

	f.reports("lost", "5")
	f.eventually("a human's word is refused", func() bool {
		status, err := f.status("lost")
		return err == nil && len(status.Timeline) == 1 && status.Timeline[0].Code == runbook.CodeWrongMode
	})

	decision, err := f.resume("ahead",
		"u1", runbook.ResumeRequest{By: "alice", Reason: "checked on site", ExpectVersion: "7"})
	require.NoError(t, err)
	require.True(t, decision.Accepted, decision.Message)
	require.Equal(t, []any{runbook.StateConflictPaused, "alice", "8"}, []any{decision.State, decision.By, decision.Next})
	second, err := f.resume("ahead", "u2", runbook.ResumeRequest{By: "bob"})
	require.NoError(t, err)
	require.Equal(t, runbook.CodeAlreadyResumed, second.Code)
	require.Equal(t, "alice", second.By)
	f.eventually("Flight Control has rendered it", func() bool {
		var version string
		require.NoError(t, f.owner.DB().GetContext(t.Context(), &version,
			`select annotations ->> 'device-controller/renderedVersion' from devices where name = 'ahead'`))
		return version == "8"
	})
	f.await("ahead", runbook.StateConflictPaused)
	f.fcReports("ahead", "8")
	ahead := f.outcome("ahead")
	require.Equal(t, []any{runbook.OutcomeResumed, "alice", "8"}, []any{ahead.Outcome, ahead.By, ahead.Next})

	// A resume that dies between its statement and its events renders nothing, and a repeat of it does nothing.
	f.mu.Lock()
	f.dies = true
	f.mu.Unlock()
	_, err = f.resume("unlucky", "u1", runbook.ResumeRequest{By: "alice"})
	require.NoError(t, err)
	f.eventually("it was resumed", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !f.dies
	})
	_, err = f.owner.DB().ExecContext(t.Context(),
		`update rollcall.roll set sent_at = now() - interval '2 minutes' where name = 'unlucky' and sent_at is not null`)
	require.NoError(t, err)
	f.eventually("it was repaired", func() bool {
		var version string
		require.NoError(t, f.owner.DB().GetContext(t.Context(), &version,
			`select annotations ->> 'device-controller/renderedVersion' from devices where name = 'unlucky'`))
		return version == "8"
	})
	f.fcReports("unlucky", "8")
	require.Equal(t, "alice", f.outcome("unlucky").By)
	f.signal("scrapped", runbook.SignalWithdraw,
		runbook.WithdrawSignal{By: "alice", Reason: "scrapped", Decommission: runbook.DecommissionUnenroll})
	require.Equal(t, runbook.OutcomeWithdrawn, f.outcome("scrapped").Outcome)
	require.Equal(t, []string{"T5 withdraw alice"}, f.audited("scrapped"))
	f.request("late", "5", pending).enroll("late")
	f.flightControl(`update enrollment_requests set annotations = '{"device-controller/awaitingReconnect": "true"}'
		where name = $1`, "late")
	approved := f.approve("late", "alice")
	require.Equal(t, []any{true, runbook.StateAwaitingReconnect, "r1"},
		[]any{approved.Accepted, approved.Device, approved.RestoreID}, approved.Message)
	f.eventually("the late joiner is marked", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.marks["late"]
	})
	_, err = f.owner.DB().ExecContext(t.Context(),
		`update devices set annotations = annotations || '{"device-controller/renderedVersion": "0"}' where name = 'late'`)
	require.NoError(t, err)
	f.polls("late", "0")
	require.Equal(t, runbook.OutcomeNormal, f.outcome("late").Outcome)
	f.polls("lost", "4")
	status := completed()
	require.EqualValues(t, 5, status.Counts[runbook.StateNormal])
	require.Equal(t, []string{"T2 look service:flightctl"}, f.audited("equal"))
	require.Equal(t, []string{"T3 look service:flightctl", "Decided resume alice", "Refused resume bob", "T4 look alice"},
		f.audited("ahead"))
	require.Equal(t, []string{
		"T3 look service:flightctl", "Decided resume alice", "Repaired  service:rollcall",
		"T4 look alice",
	}, f.audited("unlucky"))
	for _, name := range []string{"ahead", "unlucky"} {
		t.Logf("events of %s, which was resumed: %d, and without workflow tasks %d", name,
			len(f.events(deviceID(name), "")), f.steps(deviceID(name)))
	}
}
