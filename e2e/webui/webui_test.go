// Package webui looks at a running restore in Temporal's web UI, with Chromium.
package webui

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// waitLimit is long because the machine may be busy.
const waitLimit = 3 * time.Minute

func TestMain(m *testing.M) { devtest.Main(m) }

// restored is a restore that runs: web-1 is paused, and web-2 and web-3 await their reconnect.
type restored struct {
	t        *testing.T
	temporal *devenv.Temporal
	client   client.Client
	tab      context.Context
}

func newRestored(t *testing.T) *restored {
	t.Helper()
	browser := findBrowser(t)
	server, err := devenv.StartTemporal(t.Context(), devenv.TemporalConfig{SearchAttributes: runbook.SearchAttributes})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	c, err := client.Dial(client.Options{
		HostPort: server.Address(), Namespace: server.Namespace(),
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	r := &restored{t: t, temporal: server, client: c}
	database := devtest.Database(t)
	r.work(database)
	store := r.open(database, roles.Operator)
	fleet := strings.NewReader(documents(t, "web-1", "web-2", "web-3"))
	_, err = store.Import(t.Context(), fleet, inventory.ImportOptions{})
	require.NoError(t, err)
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: runbook.RestoreWorkflowID("night"), TaskQueue: runbook.DefaultTaskQueue,
	}, runbook.RestoreWorkflowName, runbook.RestoreInput{RestoreID: "night", By: "alice", WatchInterval: "0"})
	require.NoError(t, err)
	r.reports("web-1", "7")
	r.tab = openBrowser(t, browser)
	return r
}

func (r *restored) open(database, role string) *inventory.Store {
	r.t.Helper()
	store, err := inventory.Open(r.t.Context(), devtest.As(r.t, database, role))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, store.Close()) })
	return store
}

// work runs a worker until the test ends.
func (r *restored) work(database string) {
	r.t.Helper()
	h, err := host.New(r.t.Context(), host.Config{
		Client: r.client, Store: r.open(database, roles.Worker), Namespace: r.temporal.Namespace(),
		TaskQueue: runbook.DefaultTaskQueue, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		require.NoError(r.t, <-done)
	})
}

func documents(t *testing.T, names ...string) string {
	t.Helper()
	docs := make([]string, len(names))
	for i, name := range names {
		text, err := json.Marshal(map[string]any{
			"apiVersion": "flightctl.io/v1beta1", "kind": "Device",
			"metadata": map[string]any{
				"name": name, "owner": "Fleet/web", "annotations": map[string]string{runbook.AnnotationRenderedVersion: "5"},
			},
			"spec":   map[string]any{"os": map[string]string{"image": "quay.io/fleet/web:1"}},
			"status": map[string]any{"summary": map[string]string{"status": "Online"}},
		})
		require.NoError(t, err)
		docs[i] = string(text)
	}
	return strings.Join(docs, "\n---\n")
}

// deviceID is a device's workflow id.
func deviceID(name string) string { return runbook.DeviceWorkflowID(runbook.DefaultOrgID, name) }

// reports waits for the device's workflow and reports the version that the device runs.
func (r *restored) reports(name, version string) {
	r.t.Helper()
	report := runbook.ReconnectRequest{RenderedVersion: version, By: "alice", Reason: "read at its console"}
	var answer runbook.DeviceAnswer
	require.Eventually(r.t, func() bool {
		handle, err := r.client.UpdateWorkflow(r.t.Context(), client.UpdateWorkflowOptions{
			WorkflowID: deviceID(name), UpdateID: "report", UpdateName: runbook.UpdateReconnect, Args: []any{report},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		return err == nil && handle.Get(r.t.Context(), &answer) == nil
	}, waitLimit, 100*time.Millisecond)
	require.True(r.t, answer.Accepted, answer.Message)
}

// list is the page of the workflows that a query selects.
func (r *restored) list(query string) page {
	return r.page("/workflows?query=" + url.QueryEscape(query))
}

// workflow is a page of a workflow's latest run.
func (r *restored) workflow(id, tab string) page {
	r.t.Helper()
	run, err := r.client.DescribeWorkflowExecution(r.t.Context(), id, "")
	require.NoError(r.t, err)
	return r.page("/workflows/" + url.PathEscape(id) + "/" +
		run.GetWorkflowExecutionInfo().GetExecution().GetRunId() + "/" + tab)
}

func (r *restored) page(path string) page {
	return page{t: r.t, tab: r.tab, url: r.temporal.UIURL() + "/namespaces/" + r.temporal.Namespace() + path}
}

// One browser looks at one page after the other.
func TestAnOperatorFindsARestoreInTheWebUI(t *testing.T) {
	t.Parallel()
	r := newRestored(t)

	paused := runbook.AttributeDeviceStatus + `="` + string(runbook.StateConflictPaused) + `"`
	list := r.list(paused).shows(deviceID("web-1"))
	require.NotContains(t, list, deviceID("web-2"), "the list holds paused devices alone")

	r.workflow(deviceID("web-1"), "user-metadata").shows(
		"starter resume device web-1 --expect-version 7", // what to do
		"reconnect 7 by alice, now ConflictPaused (T3)",  // what has happened
	)
	r.workflow(runbook.RestoreWorkflowID("night"), "user-metadata").shows(
		"Restore night: Running", "starter get devices", "Devices 3", "AwaitingReconnect 2", "ConflictPaused 1",
	)
	r.workflow(runbook.RestoreWorkflowID("night"), "relationships").shows(
		runbook.RestoreWorkflowID("night"), deviceID("web-1"), deviceID("web-2"), deviceID("web-3"),
	)
}
