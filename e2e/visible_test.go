package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

// details is what the web UI shows as current details. On a busy machine a query may not be answered in time.
func (s *site) details(workflowID string) (string, error) {
	value, err := s.client.QueryWorkflow(s.t.Context(), workflowID, "", "__temporal_workflow_metadata")
	if err != nil {
		return "", err
	}
	var m sdkpb.WorkflowMetadata
	err = value.Get(&m)
	return m.GetCurrentDetails(), err
}

// awaitDetails waits until the query for them is answered.
func (s *site) awaitDetails(workflowID string) (details string) {
	s.t.Helper()
	s.eventually("the current details are answered", func() (ok bool) {
		found, err := s.details(workflowID)
		if err == nil {
			details = found
		}
		return err == nil
	})
	return details
}

func (s *site) attribute(workflowID, name string) string {
	s.t.Helper()
	d, err := s.client.DescribeWorkflowExecution(s.t.Context(), workflowID, "")
	require.NoError(s.t, err)
	var value string
	attributes := d.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()
	_ = converter.GetDefaultDataConverter().FromPayload(attributes[name], &value)
	return value
}

func (s *site) summary(workflowID string) string {
	s.t.Helper()
	d, err := s.client.DescribeWorkflowExecution(s.t.Context(), workflowID, "")
	require.NoError(s.t, err)
	return text(s.t, d.GetExecutionConfig().GetUserMetadata().GetSummary())
}

func text(t *testing.T, p *commonpb.Payload) string {
	t.Helper()
	var value string
	if p != nil {
		require.NoError(t, converter.GetDefaultDataConverter().FromPayload(p, &value))
	}
	return value
}

func TestWhatTheWebUIShows(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"web-7": "5", "web-8": "5"})
	s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("web-7", runbook.StateAwaitingReconnect)
	id := deviceID("web-7")
	for name, want := range map[string]string{
		runbook.AttributeDeviceStatus: "AwaitingReconnect", runbook.AttributeDeviceName: "web-7",
		runbook.AttributeFleet: "web", runbook.AttributeRestoreID: "r1",
	} {
		require.Equal(t, want, s.attribute(id, name), name)
	}
	require.Equal(t, "r1", s.attribute(runbook.RestoreWorkflowID("r1"), runbook.AttributeRestoreID))
	require.Equal(t, "web-7 of fleet web, restored at version 5", s.summary(id))
	require.Contains(t, s.awaitDetails(id), "starter reconnect device web-7 --rendered-version")

	s.reports("web-7", "7")
	s.await("web-7", runbook.StateConflictPaused)
	s.eventually("the search attribute follows",
		func() bool { return s.attribute(id, runbook.AttributeDeviceStatus) == "ConflictPaused" })
	details := s.awaitDetails(id)
	require.Contains(t, details, `starter resume device web-7 --expect-version 7 --reason "…"`)
	require.Contains(t, details, "temporal workflow signal --name resume \\\n    --workflow-id device/default/web-7 ")
	require.Less(t, strings.Index(details, "starter resume"), strings.Index(details, "|---|"),
		"what to do stands before the table")
	s.eventually("the index finds it", func() bool {
		out := s.temporal("workflow", "list", "--query", `DeviceStatus="ConflictPaused"`)
		return strings.Contains(out, id) && !strings.Contains(out, deviceID("web-8"))
	})
	s.eventually("the restore's details show the tally", func() bool {
		details, err := s.details(runbook.RestoreWorkflowID("r1"))
		return err == nil && strings.Contains(details, "[ConflictPaused](") && strings.Contains(details, ") | 1 |")
	})
	_, err := s.resume("web-7", "u1", runbook.ResumeRequest{By: "alice", Reason: "checked | on <site>"})
	require.NoError(t, err)
	s.eventually("the end is visible", func() bool { return s.attribute(id, runbook.AttributeDeviceStatus) == "Normal" })
	require.Contains(t, s.awaitDetails(id), `checked \| on &lt;site>`)
}

// history counts the events of a workflow, and reads the summaries in it.
func (s *site) history(workflowID string) (events int, summaries []string) {
	s.t.Helper()
	for _, event := range s.events(workflowID, "") {
		events++
		if summary := text(s.t, event.GetUserMetadata().GetSummary()); summary != "" {
			summaries = append(summaries, summary)
		}
	}
	return events, summaries
}

func TestHistoriesStaySmall(t *testing.T) {
	t.Parallel()
	s := newSite(t).startWorker().fleet(map[string]string{"back": "5", "paused": "5"})
	run := s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.await("back", runbook.StateAwaitingReconnect)
	s.await("paused", runbook.StateAwaitingReconnect)
	s.reports("back", "5")
	s.reports("paused", "7")
	s.await("paused", runbook.StateConflictPaused)
	_, err := s.resume("paused", "u1", runbook.ResumeRequest{By: "alice"})
	require.NoError(t, err)
	_, err = s.result(run)
	require.NoError(t, err)

	events, summaries := s.history(deviceID("back"))
	require.LessOrEqual(t, events, 12, "the normal path")
	require.Contains(t, summaries, "reconnect with version 5")
	events, summaries = s.history(deviceID("paused"))
	require.LessOrEqual(t, events, 20, "conflict and resume")
	require.Contains(t, summaries, "resume by alice")
	_, summaries = s.history(runbook.RestoreWorkflowID("r1"))
	require.Contains(t, summaries, "put devices on the roll, part 1")
}
