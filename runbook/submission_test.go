package runbook_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestArrive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		is   runbook.Enrollment
		want runbook.Submission
		code runbook.Code
	}{
		"the first of its name": {runbook.Enrollment{}, runbook.SubmissionNew, ""},
		"pending": {
			runbook.Enrollment{Exists: true, State: runbook.EnrollmentPending}, runbook.SubmissionAgain, "",
		},
		"pending, with a device": {
			runbook.Enrollment{Exists: true, DeviceExists: true, State: runbook.EnrollmentPending}, runbook.SubmissionAgain, "",
		},
		"approved, and its device is there": {
			runbook.Enrollment{Exists: true, DeviceExists: true, State: runbook.EnrollmentApproved},
			"",
			runbook.CodeDeviceExists,
		},
		"approved, and its device is gone": {
			runbook.Enrollment{Exists: true, State: runbook.EnrollmentApproved}, runbook.SubmissionNew, "",
		},
		"denied": {
			runbook.Enrollment{Exists: true, State: runbook.EnrollmentDenied}, "", runbook.CodeAlreadyDenied,
		},
		"no request, but a device": {runbook.Enrollment{DeviceExists: true}, runbook.SubmissionNew, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := runbook.DecideSubmission(tc.is, "web-1")
			require.Equal(t, tc.want, got)
			if tc.code != "" {
				require.Equal(t, tc.code, runbook.AsRefusal(err).Code)
				return
			}
			require.NoError(t, err)
		})
	}
}
