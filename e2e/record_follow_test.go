//go:build record

package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// TestRecordFollow records the workflows of requests that Flight Control decides itself.
func TestRecordFollow(t *testing.T) {
	t.Parallel()
	c := newAwaited(t)
	approved, deleted := c.enrolls("7"), c.enrolls("7")
	c.eventually("the watch starts their workflows", func() bool {
		return c.runs(enrollmentID(approved)) && c.runs(enrollmentID(deleted))
	})
	require.NoError(t, c.beside.Approve(t.Context(), runbook.DefaultOrgID, approved, nil, false))
	require.NoError(t, c.beside.DeleteEnrollmentRequest(t.Context(), runbook.DefaultOrgID, deleted))
	require.Equal(t, runbook.EnrollmentApproved, c.enrolled(approved).Decision.State)
	require.Equal(t, runbook.EnrollmentGone, c.enrolled(deleted).Decision.State)
	c.record(enrollmentID(approved), "enrollment-approved-elsewhere")
	c.record(enrollmentID(deleted), "enrollment-deleted-elsewhere")
}
