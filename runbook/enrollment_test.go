package runbook_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestMayApproveAndDeny(t *testing.T) {
	t.Parallel()
	pending := runbook.Enrollment{Exists: true, State: runbook.EnrollmentPending}
	for name, tc := range map[string]struct {
		is            runbook.Enrollment
		approve, deny runbook.Code
	}{
		"pending":    {pending, "", ""},
		"no request": {runbook.Enrollment{}, runbook.CodeNotFound, runbook.CodeNotFound},
		"device exists": {
			runbook.Enrollment{Exists: true, DeviceExists: true, State: runbook.EnrollmentPending}, runbook.CodeDeviceExists, "",
		},
		"approved, so that its device exists": {
			runbook.Enrollment{Exists: true, DeviceExists: true, State: runbook.EnrollmentApproved},
			runbook.CodeAlreadyApproved,
			runbook.CodeAlreadyApproved,
		},
		"denied": {
			runbook.Enrollment{Exists: true, State: runbook.EnrollmentDenied},
			runbook.CodeAlreadyDenied,
			runbook.CodeAlreadyDenied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for want, err := range map[*runbook.Code]error{
				&tc.approve: runbook.MayApprove(tc.is, "er-1"), &tc.deny: runbook.MayDeny(tc.is, "er-1"),
			} {
				if *want == "" {
					require.NoError(t, err)
					continue
				}
				require.Equal(t, *want, runbook.AsRefusal(err).Code)
			}
		})
	}
	err := runbook.MayApprove(runbook.Enrollment{Exists: true, State: runbook.EnrollmentDenied, DecidedBy: "bob"}, "er-1")
	require.ErrorContains(t, err, "denied already by bob")
}

func TestDecisionsNameWhoDecides(t *testing.T) {
	t.Parallel()
	require.NoError(t, runbook.ApproveRequest{By: "alice"}.Check())
	require.ErrorContains(t, runbook.ApproveRequest{By: " "}.Check(), `"labels"`, "the example shows all there is")
	require.ErrorContains(t, runbook.DenyRequest{}.Check(), `set "by"`)
	require.Error(t, runbook.ApproveRequest{By: "alice", Labels: map[string]string{"": "x"}}.Check())
}
