// Package e2e plays whole nights on a real PostgreSQL and a real Temporal server: fleets are imported, restores run,
// signals are sent with Temporal's own command line, and workers stop and start in between.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/internal/invariants"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// waitLimit is how long a test waits for what must happen. It is long because the machine may be busy; what fails,
// fails for another reason.
const waitLimit = 3 * time.Minute

// site is a control plane of one's own: database, namespace, task queue.
type site struct {
	t         *testing.T
	database  string
	server    devtest.Server
	taskQueue string
	// store is the starter's, and working the worker's, each with the rights of its role.
	store   *inventory.Store
	working *inventory.Store
	// owner is for what others than Rollcall do in the database.
	owner  *inventory.Store
	client client.Client
	stop   func()
	// policy is what the worker demands of resumes.
	policy runbook.ResumePolicy
	// putBack reports that the test has put rows back and left the audit of what they have lost.
	putBack bool
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, database: devtest.Database(t), server: devtest.Temporal(t), taskQueue: devtest.TaskQueue(t)}
	s.connect()
	s.client = s.server.Client(t, host.DisableStickyQueue)
	t.Cleanup(func() {
		if !s.putBack {
			requireNoViolation(t, s.owner)
		}
	})
	return s
}

// connect connects to the database as the starter, as the worker and as its owner.
func (s *site) connect() {
	s.t.Helper()
	s.store, s.working, s.owner = s.open(roles.Operator), s.open(roles.Worker), s.open("none")
}

// open connects to the database with the rights of a role, or with the owner's by the role "none".
func (s *site) open(role string) *inventory.Store {
	s.t.Helper()
	store, err := inventory.Open(s.t.Context(), devtest.As(s.t, s.database, role))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, store.Close()) })
	return store
}

// startWorker starts a worker inside the test; it is stopped by stopWorker, or at the end.
func (s *site) startWorker(change ...func(*host.Config)) *site {
	s.t.Helper()
	cfg := host.Config{
		Client: s.client, Store: s.working, Namespace: s.server.Namespace, TaskQueue: s.taskQueue,
		Logger: slog.New(slog.DiscardHandler),
		Policy: s.policy,
	}
	for _, c := range change {
		c(&cfg)
	}
	h, err := host.New(s.t.Context(), cfg)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(s.t, <-done)
	}
	s.t.Cleanup(s.stop)
	return s
}

func (s *site) stopWorker() {
	s.t.Helper()
	s.stop()
}

// fleet imports devices, each restored at the version given.
func (s *site) fleet(restored map[string]string) *site {
	s.t.Helper()
	var docs []string
	for name, version := range restored {
		device := map[string]any{
			"apiVersion": "flightctl.io/v1beta1", "kind": "Device",
			"metadata": map[string]any{
				"name": name, "owner": "Fleet/web", "labels": map[string]string{"site": "berlin"},
				"annotations": map[string]string{runbook.AnnotationRenderedVersion: version},
			},
			"spec":   map[string]any{"os": map[string]string{"image": "quay.io/fleet/web:1"}},
			"status": map[string]any{"summary": map[string]string{"status": "Online"}, "lastSeen": "2026-11-20T10:00:00Z"},
		}
		text, err := json.Marshal(device)
		require.NoError(s.t, err)
		docs = append(docs, string(text))
	}
	_, err := s.store.Import(s.t.Context(), strings.NewReader(strings.Join(docs, "\n---\n")), inventory.ImportOptions{})
	require.NoError(s.t, err)
	return s
}

// restore starts a restore.
func (s *site) restore(in runbook.RestoreInput) client.WorkflowRun {
	s.t.Helper()
	run, err := s.client.ExecuteWorkflow(s.t.Context(), client.StartWorkflowOptions{
		ID: runbook.RestoreWorkflowID(in.RestoreID), TaskQueue: s.taskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, runbook.RestoreWorkflowName, in)
	require.NoError(s.t, err)
	return run
}

// deviceID is a device's workflow id.
func deviceID(name string) string { return runbook.DeviceWorkflowID(runbook.DefaultOrgID, name) }

// status asks a device's workflow where it stands.
func (s *site) status(name string) (runbook.DeviceStatus, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	var status runbook.DeviceStatus
	value, err := s.client.QueryWorkflow(ctx, deviceID(name), "", runbook.QueryState)
	if err == nil {
		err = value.Get(&status)
	}
	return status, err
}

// await waits until a device's workflow runs and is in a state.
func (s *site) await(name string, state runbook.State) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%s is %s", name, state), func() bool {
		status, err := s.status(name)
		return err == nil && status.State == state && s.runs(deviceID(name))
	})
}

// runs reports whether a workflow's latest run is open.
func (s *site) runs(workflowID string) bool {
	d, err := s.client.DescribeWorkflowExecution(s.t.Context(), workflowID, "")
	return err == nil && d.GetWorkflowExecutionInfo().GetCloseTime() == nil
}

func (s *site) eventually(what string, holds func() bool) {
	s.t.Helper()
	require.Eventually(s.t, holds, waitLimit, 50*time.Millisecond, what)
}

func (s *site) signal(name, signal string, payload any) {
	s.t.Helper()
	require.NoError(s.t, s.client.SignalWorkflow(s.t.Context(), deviceID(name), "", signal, payload))
}

func (s *site) reports(name, version string) {
	s.t.Helper()
	s.signal(name, runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: version})
}

// resume asks for a decision and returns the answer.
func (s *site) resume(name, id string, request runbook.ResumeRequest) (runbook.ResumeDecision, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	var decision runbook.ResumeDecision
	handle, err := s.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: deviceID(name), UpdateID: id, UpdateName: runbook.UpdateResume, Args: []any{request},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &decision)
	}
	return decision, err
}

// tally reads the database.
func (s *site) tally(restoreID string) runbook.RestoreStatus {
	s.t.Helper()
	status, err := s.store.RestoreStatus(s.t.Context(), restoreID)
	require.NoError(s.t, err)
	require.True(s.t, status.AddsUp(), "%+v", status)
	return status
}

// result waits for a restore's end.
func (s *site) result(run client.WorkflowRun) (runbook.RestoreStatus, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	var status runbook.RestoreStatus
	return status, run.Get(ctx, &status)
}

// events reads the history of a workflow's run; an empty run id is the latest.
func (s *site) events(workflowID, runID string) (events []*historypb.HistoryEvent) {
	s.t.Helper()
	iterator := s.client.GetWorkflowHistory(s.t.Context(), workflowID, runID, false,
		enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for iterator.HasNext() {
		event, err := iterator.Next()
		require.NoError(s.t, err)
		events = append(events, event)
	}
	return events
}

// count counts the events of a type in the history of a workflow's latest run.
func (s *site) count(workflowID string, of enumspb.EventType) (n int) {
	s.t.Helper()
	for _, event := range s.events(workflowID, "") {
		if event.GetEventType() == of {
			n++
		}
	}
	return n
}

// temporal runs Temporal's own command line.
func (s *site) temporal(args ...string) string {
	s.t.Helper()
	binary, err := devenv.FindTemporal()
	require.NoError(s.t, err)
	cmd := exec.CommandContext(s.t.Context(), binary,
		append(args, "--address", s.server.Address, "--namespace", s.server.Namespace)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(s.t, cmd.Run(), "temporal %s: %s", strings.Join(args, " "), errs.String())
	return out.String()
}

// requireNoViolation holds what a test has done to the invariants, once its workers have stopped. A device may be
// ahead of the roll then, because no one follows it any more.
func requireNoViolation(t *testing.T, store *inventory.Store) {
	t.Helper()
	found, err := invariants.Database(context.Background(), store.DB()) // the test's own context has ended
	require.NoError(t, err)
	found = slices.DeleteFunc(found, func(v invariants.Violation) bool {
		return v.Invariant == invariants.DeviceFollowsRoll || v.Invariant == invariants.NothingRendered
	})
	require.Empty(t, found)
}
