package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/invariants"
	"rollcall/runbook"
)

// A device that a running restore waits for, and whose workflow is gone, gets one from fsck where no inventory watch
// runs. It is the late joiner, which has no parent in the restore.
func TestFsckStartsTheWorkflowOfADevice(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.giveYAML("apiVersion: flightctl.io/v1beta1\nkind: EnrollmentRequest\nmetadata: {name: late}\n" +
		"spec: {" + yamlCSR(t, "late") + ", knownRenderedVersion: \"7\"}\n")
	b.ok("restore", "--id", "first", "--watch-interval", "0")
	b.until("web-1", runbook.StateAwaitingReconnect)
	_, code := b.enroll("approve", "enrollmentrequest", "late")
	require.Equal(t, 0, code)
	b.until("late", runbook.StateAwaitingReconnect)
	id := runbook.DeviceWorkflowID(runbook.DefaultOrgID, "late")
	require.Eventually(t, func() bool {
		_, err := b.client.DescribeWorkflowExecution(t.Context(), id, "")
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	// Its enrollment would start it again.
	enrollment := runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, "late")
	require.NoError(t, b.client.TerminateWorkflow(t.Context(), enrollment, "", "test"))
	require.NoError(t, b.client.TerminateWorkflow(t.Context(), id, "", "test"))
	var report fsckReport
	require.Eventually(t, func() bool {
		o := b.run("fsck", "--settle", "0", "-o", "json")
		o.json(t, &report)
		return o.code == 5 && len(report.Violations) == 1 && report.Violations[0].Missing
	}, time.Minute, 100*time.Millisecond)
	require.Equal(t, invariants.WorkflowRuns, report.Violations[0].Invariant)
	require.Equal(t, id, report.Violations[0].WorkflowID)
	require.Empty(t, report.Started, "without --repair nothing is changed")

	o := b.run("fsck", "--repair", "--settle", "10s", "-o", "json")
	o.json(t, &report)
	require.Equal(t, 0, o.code, o.stdout)
	require.Equal(t, []startedDevice{{"first", runbook.DefaultOrgID, "late"}}, report.Started)
	b.reported("late", "0", runbook.StateNormal)
}
