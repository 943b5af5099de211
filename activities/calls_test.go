package activities_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/activities"
	"rollcall/runbook"
)

// decisive is a Flight Control that carries out decisions by carry.
type decisive struct {
	fakeStore
	carry func(context.Context) error
}

func (d *decisive) Approve(ctx context.Context, _, _ string, _ map[string]string, _ bool) error {
	return d.carry(ctx)
}

func (d *decisive) DeleteEnrollmentRequest(ctx context.Context, _, _ string) error {
	return d.carry(ctx)
}

func (d *decisive) Decommission(ctx context.Context, _, _, _ string) error { return d.carry(ctx) }

// refusal is an answer that a repetition does not change.
type refusal struct{}

func (refusal) Error() string { return "Flight Control: rejected (400): no such thing" }
func (refusal) Refused() bool { return true }

// request puts an enrollment request, a TPM's, into the vigil's database.
func (v *vigil) request(name string) {
	v.t.Helper()
	v.exec(`update rollcall.restores set rolled_at = now()`)
	v.exec(`insert into enrollment_requests (org_id, name, spec) values ('` + runbook.DefaultOrgID + `', '` + name +
		`', '{"csr": "AQABAAAAAEAAAABGAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "knownRenderedVersion": "7"}')`)
}

// A call that waits for its turn, or for its answer, is not broken off when the attempt that began it ends: Flight
// Control would break off an approval half-way. The next attempt waits for the same call.
func TestACallOutlivesItsAttempt(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a")
	v.besideFlightControl()
	v.request("late")
	begun, answered := make(chan struct{}, 10), make(chan struct{})
	control := &decisive{carry: func(ctx context.Context) error {
		begun <- struct{}{}
		select {
		case <-answered:
		case <-ctx.Done():
			return ctx.Err()
		}
		v.exec(`insert into devices (org_id, name, annotations, status) select org_id, name,
			'{"device-controller/awaitingReconnect": "true"}', '{}' from enrollment_requests`)
		v.exec(`update enrollment_requests set status = '{"approval": {"approved": true, "approvedBy": "rollcall"}}'`)
		return nil
	}}
	acts := &activities.Activities{Inventory: v.store, Flightctl: control}
	in := activities.ApproveInput{OrgID: runbook.DefaultOrgID, Name: "late", By: "alice", RequestID: "u1"}
	for range 2 {
		attempt, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := acts.Approve(attempt, in); failed <- err }()
		if len(begun) == 0 {
			require.Eventually(t, func() bool { return len(begun) > 0 }, waitLimit, time.Millisecond)
		}
		cancel()
		require.Error(t, <-failed)
	}
	result := make(chan activities.DecidedResult, 1)
	go func() {
		r, err := acts.Approve(t.Context(), in)
		if err != nil {
			t.Error(err)
		}
		result <- r
	}()
	close(answered)
	got := <-result
	require.Equal(t, []any{true, runbook.EnrollmentApproved, "r1"}, []any{got.Applied, got.State, got.RestoreID})
	require.Len(t, begun, 1, "all attempts waited for one call")
}

// What Flight Control refuses for good is a refusal with its words. The workflow reads on, and the audit has it.
func TestWhatFlightControlRefusesIsRefused(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a")
	v.besideFlightControl()
	v.request("late")
	acts := &activities.Activities{
		Inventory: v.store, Flightctl: &decisive{carry: func(context.Context) error { return refusal{} }},
	}
	approved, err := acts.Approve(t.Context(), activities.ApproveInput{
		OrgID: runbook.DefaultOrgID, Name: "late", By: "alice", RequestID: "u1", Labels: map[string]string{"site": "Halle 7"},
	})
	require.NoError(t, err)
	require.Equal(t, runbook.EnrollmentPending, approved.State)
	requireRefused(t, approved.Refusal)

	withdraw := activities.WithdrawInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "a", By: "alice", RequestID: "u2", Decommission: "Unenroll",
	}
	withdrawn, err := acts.Withdraw(t.Context(), withdraw)
	require.NoError(t, err)
	require.Equal(t, runbook.StateAwaitingReconnect, withdrawn.State)
	requireRefused(t, withdrawn.Refusal)

	denied, err := acts.Deny(t.Context(), activities.DenyInput{
		OrgID: runbook.DefaultOrgID, Name: "late", By: "alice", RequestID: "u3", Delete: true,
	})
	require.NoError(t, err)
	require.Equal(t, runbook.EnrollmentDenied, denied.State)
	requireRefused(t, denied.Refusal)

	var refused []string
	require.NoError(t, v.store.DB().SelectContext(t.Context(), &refused,
		`select signal || ' ' || code from rollcall.transitions where transition = 'Refused' order by id`))
	require.Equal(t, []string{"approve Failed", "withdraw Failed", "deny Failed"}, refused)

	// What a repetition may change is tried again.
	acts.Flightctl = &decisive{carry: func(context.Context) error { return errors.New("no answer") }}
	withdraw.RequestID = "u4"
	_, err = acts.Withdraw(t.Context(), withdraw)
	require.ErrorContains(t, err, "no answer")
}

func requireRefused(t *testing.T, r *runbook.Refusal) {
	t.Helper()
	require.NotNil(t, r)
	require.Equal(t, runbook.CodeFailed, r.Code)
	require.Contains(t, r.Message, "no such thing")
}
