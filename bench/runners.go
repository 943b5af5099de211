package main

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// ours is a roll call.
type ours struct {
	id                       string
	devices                  int
	batchSize, batchesAtOnce int
	ahead                    float64 // share of devices that are ahead of the backup
	senders                  int
	store                    *inventory.Store
	// prefix comes before the numbers of the devices in their names. Each run on one server needs its own: where a
	// workflow's id was in use before, Temporal writes its start twice, which the floor, whose ids are new, is spared.
	prefix string
}

const (
	restoredVersion = "5"
	aheadVersion    = "7"
)

func (r *ours) prepare(ctx context.Context, store *inventory.Store, n int) error {
	r.store, r.devices = store, n
	_, err := store.DB().ExecContext(ctx, `
insert into devices (org_id, name, labels, annotations, spec, status, generation, resource_version, created_at,
updated_at)
select $1, $4 || lpad(i::text, 6, '0'),
    jsonb_build_object('site', 'site-' || i % 50, 'environment', case i % 3 when 0 then 'production' else 'test' end),
    jsonb_build_object('device-controller/renderedVersion', $3::text, 'fleet-controller/templateVersion', 'v1'),
    '{"os": {"image": "quay.io/acme/edge:9.4"}, "applications": [{"name": "till", "image": "quay.io/acme/till:v3"}]}',
    jsonb_build_object('summary', '{"status": "Online"}'::jsonb, 'updated', '{"status": "UpToDate"}'::jsonb,
    'lifecycle', '{"status": "Enrolled"}'::jsonb,
        'config', jsonb_build_object('renderedVersion', $3::text), 'systemInfo', jsonb_build_object('bootID',
        md5(i::text), 'agentVersion', '1.0')),
    1, 1, now(), now()
from generate_series(0, $2 - 1) i`, runbook.DefaultOrgID, n, restoredVersion, r.prefix)
	if err == nil {
		_, err = store.DB().ExecContext(ctx, `analyze`)
	}
	if err != nil {
		return fmt.Errorf("make %d devices: %w", n, err)
	}
	return nil
}

func deviceName(prefix string, i int) string { return fmt.Sprintf("%s%06d", prefix, i) }

func (r *ours) device(i int) string { return deviceName(r.prefix, i) }

func (r *ours) workflowID(i int) string {
	return runbook.DeviceWorkflowID(runbook.DefaultOrgID, r.device(i))
}

func (r *ours) start(ctx context.Context, c client.Client, queue string) (client.WorkflowRun, error) {
	return c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: runbook.RestoreWorkflowID(r.id), TaskQueue: queue, WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary: "bench",
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(runbook.AttributeRestoreID).ValueSet(r.id)),
	}, runbook.RestoreWorkflowName,
		runbook.RestoreInput{RestoreID: r.id, By: "bench", BatchSize: r.batchSize, BatchesAtOnce: r.batchesAtOnce})
}

func (r *ours) rolled(ctx context.Context) (time.Duration, error) {
	var seconds float64
	err := r.store.DB().GetContext(ctx, &seconds,
		`select extract(epoch from rolled_at - started_at) from rollcall.restores where id = $1`, r.id)
	if err != nil {
		return 0, fmt.Errorf("read when the roll was made: %w", err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// isAhead spreads the conflicts over the fleet.
func (r *ours) isAhead(i int) bool {
	return int(float64(i+1)*r.ahead) > int(float64(i)*r.ahead)
}

func (r *ours) report(ctx context.Context, c client.Client, i int) error {
	version := restoredVersion
	if r.isAhead(i) {
		version = aheadVersion
	}
	return c.SignalWorkflow(ctx, r.workflowID(i), "", runbook.SignalReconnect,
		runbook.ReconnectSignal{RenderedVersion: version})
}

func (r *ours) unanswered(ctx context.Context) (n int, err error) {
	err = r.store.DB().GetContext(ctx, &n, `select count(*) from rollcall.roll where restore_id = $1 and state = $2`, r.id,
		runbook.StateAwaitingReconnect)
	return n, err
}

func (r *ours) finish(ctx context.Context, c client.Client) (int, error) {
	var paused []int
	for i := range r.devices {
		if r.isAhead(i) {
			paused = append(paused, i)
		}
	}
	return len(paused), sendAll(ctx, r.senders, len(paused), func(n int) error {
		handle, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: r.workflowID(paused[n]), UpdateName: runbook.UpdateResume,
			WaitForStage: client.WorkflowUpdateStageCompleted,
			Args:         []any{runbook.ResumeRequest{By: "bench", Reason: "seen", ExpectVersion: aheadVersion}},
		})
		if err != nil {
			return fmt.Errorf("resume %s: %w", r.device(paused[n]), err)
		}
		var decision runbook.ResumeDecision
		if err := handle.Get(ctx, &decision); err != nil {
			return fmt.Errorf("resume %s: %w", r.device(paused[n]), err)
		}
		if !decision.Accepted {
			return fmt.Errorf("resume %s: %s", r.device(paused[n]), decision.Message)
		}
		return nil
	})
}

func (r *ours) deviceIDs() (normal, conflict []string) {
	for i := range r.devices {
		id := r.workflowID(i)
		if r.isAhead(i) {
			conflict = append(conflict, id)
		} else {
			normal = append(normal, id)
		}
	}
	return normal, conflict
}

func (r *ours) parentIDs() []string {
	ids := []string{runbook.RestoreWorkflowID(r.id)}
	size := r.batchSize
	if size == 0 {
		size = runbook.DefaultBatchSize
	}
	if r.devices > size {
		for n := 0; n*size < r.devices; n++ {
			ids = append(ids, runbook.BatchWorkflowID(r.id, n))
		}
	}
	return ids
}

// floorRunner is the floor.
type floorRunner struct {
	in    floorSlice
	store *inventory.Store
}

func (r *floorRunner) prepare(ctx context.Context, store *inventory.Store, n int) error {
	r.store, r.in.To = store, n
	_, err := store.DB().ExecContext(ctx, floorTable)
	if err == nil {
		_, err = store.DB().ExecContext(ctx, `insert into bench_floor (id) select generate_series(0, $1::int - 1)`, n)
	}
	if err == nil {
		_, err = store.DB().ExecContext(ctx, `analyze`)
	}
	if err != nil {
		return fmt.Errorf("make the floor's %d devices: %w", n, err)
	}
	return nil
}

func (r *floorRunner) start(ctx context.Context, c client.Client, queue string) (client.WorkflowRun, error) {
	return c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "floor/" + r.in.Run, TaskQueue: queue}, floorRoot, r.in)
}

func (r *floorRunner) rolled(context.Context) (time.Duration, error) { return 0, nil }

func (r *floorRunner) report(ctx context.Context, c client.Client, i int) error {
	return c.SignalWorkflow(ctx, floorDeviceID(r.in.Run, i), "", runbook.SignalReconnect,
		runbook.ReconnectSignal{RenderedVersion: restoredVersion})
}

func (r *floorRunner) unanswered(ctx context.Context) (n int, err error) {
	err = r.store.DB().GetContext(ctx, &n, `select count(*) from bench_floor where reported = ''`)
	return n, err
}

func (r *floorRunner) finish(context.Context, client.Client) (int, error) { return 0, nil }

func (r *floorRunner) deviceIDs() (normal, conflict []string) {
	for i := range r.in.To {
		normal = append(normal, floorDeviceID(r.in.Run, i))
	}
	return normal, nil
}

func (r *floorRunner) parentIDs() []string {
	ids := []string{"floor/" + r.in.Run}
	if r.in.To > r.in.BatchSize {
		for n := 0; n*r.in.BatchSize < r.in.To; n++ {
			ids = append(ids, r.in.batchID(n))
		}
	}
	return ids
}
