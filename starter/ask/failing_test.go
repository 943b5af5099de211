package ask

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// described is a Temporal in which each workflow waits for one activity.
type described struct {
	client.Client
	pending *workflow.PendingActivityInfo
}

func (d described) DescribeWorkflowExecution(
	context.Context, string, string,
) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return &workflowservice.DescribeWorkflowExecutionResponse{
		PendingActivities: []*workflow.PendingActivityInfo{d.pending},
	}, nil
}

// A failure may quote what another program has written. A terminal gets it in one line, without control characters,
// and not more of it than helps.
func TestAFailureIsSafeForATerminal(t *testing.T) {
	t.Parallel()
	foreign := "answered 500:\x1b]0;owned\x07\x1b[2J\nerror: all is well" + strings.Repeat("é", 10_000)
	progress, err := converter.GetDefaultDataConverter().ToPayloads(map[string]string{"failing": foreign})
	require.NoError(t, err)
	failed := described{pending: &workflow.PendingActivityInfo{
		State:       enums.PENDING_ACTIVITY_STATE_SCHEDULED,
		LastFailure: &failure.Failure{Message: foreign},
	}}
	beats := described{pending: &workflow.PendingActivityInfo{
		ActivityType: &common.ActivityType{Name: watchActivity}, HeartbeatDetails: progress,
	}}
	for name, text := range map[string]string{
		"of a restore":              WhatFails(t.Context(), failed, "first"),
		"of a watch's heartbeat":    WhatFails(t.Context(), beats, "first"),
		"of a device that is asked": unknown(t.Context(), failed, "device/web-1", time.Second, "again").Message,
	} {
		require.Contains(t, text, "answered 500: ]0;owned  [2J error: all is well", name)
		require.NotRegexp(t, `[[:cntrl:]]`, text, name)
		require.Less(t, len([]rune(text)), 800, name)
		require.True(t, strings.HasSuffix(text, "é…"), name)
	}
}
