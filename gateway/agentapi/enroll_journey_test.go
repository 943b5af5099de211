package agentapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/runbook"
)

// The whole of it, with workflows: each row of the enrollment table from the agent's first post to its place in the
// fleet.
func TestDevicesThatTheBackupNeverKnewComeBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	c := b.work()
	b.give(map[string]string{"web-1": "5"})
	inBackup := b.newcomer()
	requirePending(t, inBackup.post(""), http.StatusCreated)
	b.restore(c, "night")
	require.Eventually(t, func() bool {
		return b.position(inBackup.name).Begins == runbook.StateAwaitingReconnect
	}, waitLimit, 20*time.Millisecond)

	deployed, fresh := b.newcomer(), b.newcomer()
	requirePending(t, deployed.post(`"8"`), http.StatusCreated)
	requirePending(t, fresh.post(`"0"`), http.StatusCreated)
	requirePending(t, deployed.get(), http.StatusOK)
	for n, begins := range map[*newcomer]runbook.State{
		inBackup: runbook.StateAwaitingReconnect, deployed: runbook.StateAwaitingReconnect, fresh: runbook.StateNormal,
	} {
		decision := b.approve(c, n.name)
		require.True(t, decision.Accepted, decision.Message)
		require.Equal(t, begins, decision.Device)
	}
	tally, err := b.store.RestoreStatus(t.Context(), "night")
	require.NoError(t, err)
	require.EqualValues(t, 3, tally.Total, "the late joiners are in the tally")

	agents := map[*newcomer]*agent{}
	for _, n := range []*newcomer{inBackup, deployed, fresh} {
		agents[n] = n.admitted(requireApproved(t, n.get()).Status.Certificate)
		requireStatus(t, agents[n].do(http.MethodGet, requestsPath+"/"+n.name, ""), http.StatusForbidden,
			"not one to enroll with")
	}
	b.answersRollCall(agents[inBackup], "0", runbook.StateNormal)
	b.answersRollCall(agents[deployed], "8", runbook.StateConflictPaused)
	require.Equal(t, http.StatusOK, agents[fresh].put(`{}`).code)
	b.until(fresh.name, runbook.StateNormal)
	handle, err := c.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(runbook.DefaultOrgID, deployed.name), UpdateName: runbook.UpdateResume,
		Args: []any{runbook.ResumeRequest{By: "alice"}}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(t, err)
	require.NoError(t, handle.Get(t.Context(), nil))

	b.until(deployed.name, runbook.StateNormal)
	resumed := deployed.at(b.beside()).admitted(requireApproved(t, deployed.get()).Status.Certificate)
	require.Equal(t, http.StatusNoContent, resumed.poll("8").code,
		"no one has given it a spec, and an empty one would take away all that it runs")
	b.store.DB().MustExec(`update devices set spec = '{"os": {"image": "web:9"}}' where name = $1`, deployed.name)
	served := resumed.poll("8")
	require.Equal(t, http.StatusOK, served.code, served.body)
	require.Contains(t, served.body, `"web:9"`)
	require.Contains(t, served.body, `"device-controller/renderedVersion":"9"`)

	b.answersRollCall(b.agent("web-1"), "5", runbook.StateNormal)
	require.Eventually(t, func() bool {
		tally, err := b.store.RestoreStatus(t.Context(), "night")
		return err == nil && tally.State == runbook.RestoreCompleted && tally.AddsUp()
	}, waitLimit, 20*time.Millisecond)
}

// answersRollCall polls as agents do until the roll call has heard.
func (b *bench) answersRollCall(a *agent, version string, state runbook.State) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		got := a.polling(version)
		select {
		case answer := <-got: // 503 while its workflow starts
			return answer.code < 300
		case <-time.After(100 * time.Millisecond):
			return true // it is held
		}
	}, waitLimit, 20*time.Millisecond)
	b.until(a.name, state)
}

// A device that was deleted enrolls again: its old workflow has ended, and a new one asks.
func TestAnOldDecisionDoesNotStandInTheWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.work()
	n := b.newcomer()
	requirePending(t, n.post(""), http.StatusCreated)
	require.True(t, b.approve(c, n.name).Accepted)
	a := n.admitted(requireApproved(t, n.get()).Status.Certificate)
	require.Equal(t, http.StatusNoContent, a.poll("").code)
	first := requireApproved(t, n.get()).Status.Certificate
	require.NoError(t,
		c.GetWorkflow(t.Context(), runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, n.name), "").Get(t.Context(), nil))

	b.store.DB().MustExec(`delete from devices`)
	requireStatus(t, a.poll(""), http.StatusNotFound, n.name)
	requirePending(t, n.post(`"3"`), http.StatusCreated)
	require.Equal(t, runbook.KeySame, b.position(n.name).Key)
	decision := b.approve(c, n.name)
	require.True(t, decision.Accepted, decision.Message)
	require.Equal(t, runbook.StateAwaitingReconnect, decision.Device)
	require.NotEqual(t, first, requireApproved(t, n.get()).Status.Certificate)
	requireStatus(t, n.post(""), http.StatusConflict, "device is there")
}

func TestADifferentKeyIsShownAndNeverLaundered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer("web-1")
	requirePending(t, n.post(`"5"`), http.StatusCreated)
	require.Equal(t, runbook.KeyNew, b.position("web-1").Key)
	n.requireThere(n.post(`"6"`))
	require.Equal(t, runbook.KeyNew, b.position("web-1").Key, "none was known before")
	b.decided("web-1")
	b.store.DB().MustExec(`delete from devices`)

	stranger := n.rekeyed()
	for i, code := range []int{http.StatusCreated, http.StatusConflict, http.StatusConflict} {
		require.Equal(t, code, stranger.post(`"5"`).code)
		require.Equal(t, runbook.KeyDifferent, b.position("web-1").Key, "%d", i)
	}
	b.restoreRequests("night")
	stranger.requireThere(stranger.post(`"5"`))
	require.Equal(t, runbook.KeyDifferent, b.position("web-1").Key)
	require.Equal(t, 1, b.count(`select count(*) from events where type = 'Warning' and message like '%is different%'`))
	b.store.DB().MustExec(`update enrollment_requests set deleted_at = now()`)
	requirePending(t, stranger.post(`"5"`), http.StatusCreated)
	require.Equal(t, runbook.KeyDifferent, b.position("web-1").Key)
	b.store.DB().MustExec(`delete from enrollment_requests`)
	requirePending(t, stranger.post(`"5"`), http.StatusCreated)
	require.Equal(t, runbook.KeyDifferent, b.position("web-1").Key)

	n.requireThere(n.post(`"5"`))
	require.Equal(t, runbook.KeySame, b.position("web-1").Key, "the device itself comes back")
	posed := b.newcomer(b.newcomer().name)
	requirePending(t, posed.post(""), http.StatusCreated)
	require.Equal(t, runbook.KeyDifferent, b.position(posed.name).Key, "its name is the hash of another key")
}
