package host_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	commandpb "go.temporal.io/api/command/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"

	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/runbook"
)

func TestDialGivesBackWhoWaits(t *testing.T) {
	server := devtest.EmptyTemporal(t)
	t.Setenv("TEMPORAL_ADDRESS", server.Address)
	t.Setenv("TEMPORAL_NAMESPACE", server.Namespace)
	c, err := host.Dial(t.Context(), host.DialOptions{})
	require.NoError(t, err)
	defer c.Close()

	device := runbook.DeviceWorkflowID(runbook.DefaultOrgID, "web-1")
	wrote := []*commandpb.Command{{}}
	for name, test := range map[string]struct {
		workflowID string
		commands   []*commandpb.Command
		next       bool
		sticky     bool
	}{
		"a device in its first task":               {workflowID: device},
		"a device that has written something":      {workflowID: device, commands: wrote},
		"a device whose local activity takes long": {workflowID: device, commands: wrote, next: true, sticky: true},
		"an enrollment request":                    {workflowID: runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, "late")},
		"a restore": {
			workflowID: runbook.RestoreWorkflowID("r1"), commands: wrote, sticky: true,
		},
		"a batch": {
			workflowID: runbook.BatchWorkflowID("r1", 0), commands: wrote, sticky: true,
		},
		"a workflow of someone else": {workflowID: "order-7", commands: wrote, sticky: true},
	} {
		answer := &workflowservice.RespondWorkflowTaskCompletedRequest{
			Namespace: server.Namespace, ResourceId: "workflow:" + test.workflowID, Commands: test.commands,
			ForceCreateNewWorkflowTask: test.next,
			StickyAttributes: &taskqueuepb.StickyExecutionAttributes{
				WorkerTaskQueue: &taskqueuepb.TaskQueue{Name: "this-worker"},
			},
		}
		_, err := c.WorkflowService().RespondWorkflowTaskCompleted(t.Context(), answer)
		require.Error(t, err, "there is no such task, but it has been sent")
		require.Equal(t, test.sticky, answer.StickyAttributes != nil, name)
	}
}
