package main

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"rollcall/inventory"
	"rollcall/runbook"
)

// The floor is the least that the shape of a roll call allows: the same tree of children, each waiting for one signal,
// running one local activity of one UPDATE by primary key, and completing; no rule, no search attribute, no event, no
// parent that says anything. It starts its children in waves, batch after batch, as ours does: all at once is slower,
// and would flatter ours.
const (
	floorRoot   = "FloorWorkflow"
	floorBatch  = "FloorBatchWorkflow"
	floorDevice = "FloorDeviceWorkflow"
	floorCalled = "called" // a batch has asked for its devices
)

// floorTable is what the floor's devices write to.
const floorTable = `create table bench_floor (id bigint primary key, reported text not null default '')`

// floorSlice is the devices From up to, but not including, To of a run of the floor, in batches of BatchSize.
type floorSlice struct {
	Run       string
	From, To  int
	BatchSize int
	// Wave is how many children are started together, and Batches how many batches; 0 is all.
	Wave, Batches int
}

func (s floorSlice) batchID(n int) string    { return fmt.Sprintf("floor/%s/batch/%d", s.Run, n) }
func floorDeviceID(run string, n int) string { return fmt.Sprintf("floor/%s/device/%d", run, n) }

func registerFloor(r worker.Registry, store *inventory.Store) {
	r.RegisterWorkflowWithOptions(runFloor, workflow.RegisterOptions{Name: floorRoot})
	r.RegisterWorkflowWithOptions(runFloorBatch, workflow.RegisterOptions{Name: floorBatch})
	r.RegisterWorkflowWithOptions(runFloorDevice, workflow.RegisterOptions{Name: floorDevice})
	r.RegisterActivity(&floorActivities{store: store})
}

func runFloor(ctx workflow.Context, in floorSlice) error {
	if in.To-in.From <= in.BatchSize {
		return runFloorBatch(ctx, in)
	}
	var batches []workflow.ChildWorkflowFuture
	for from := in.From; from < in.To; from += in.BatchSize {
		if len(batches) >= in.Batches && in.Batches > 0 {
			workflow.GetSignalChannel(ctx, floorCalled).Receive(ctx, nil)
		}
		slice := in
		slice.From, slice.To = from, min(from+in.BatchSize, in.To)
		batches = append(batches, workflow.ExecuteChildWorkflow(floorChild(ctx, in.batchID(len(batches))), floorBatch, slice))
	}
	return waitForAll(ctx, batches)
}

func runFloorBatch(ctx workflow.Context, in floorSlice) error {
	var devices []workflow.ChildWorkflowFuture
	for n := in.From; n < in.To; n++ {
		if in.Wave > 0 && len(devices)%in.Wave == 0 {
			for _, begun := range devices[max(0, len(devices)-in.Wave):] {
				if err := begun.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
					return err
				}
			}
		}
		devices = append(devices, workflow.ExecuteChildWorkflow(floorChild(ctx, floorDeviceID(in.Run, n)), floorDevice, n))
	}
	if parent := workflow.GetInfo(ctx).ParentWorkflowExecution; parent != nil {
		workflow.SignalExternalWorkflow(ctx, parent.ID, parent.RunID, floorCalled, nil)
	}
	return waitForAll(ctx, devices)
}

func floorChild(ctx workflow.Context, id string) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: id, ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_TERMINATE,
	})
}

func waitForAll(ctx workflow.Context, children []workflow.ChildWorkflowFuture) error {
	for _, child := range children {
		if err := child.Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func runFloorDevice(ctx workflow.Context, n int) error {
	var report runbook.ReconnectSignal
	workflow.GetSignalChannel(ctx, runbook.SignalReconnect).Receive(ctx, &report)
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 10 * time.Second, RetryPolicy: &temporal.RetryPolicy{MaximumInterval: time.Second},
	})
	var acts *floorActivities
	return workflow.ExecuteLocalActivity(ctx, acts.Update, n, report.RenderedVersion).Get(ctx, nil)
}

type floorActivities struct{ store *inventory.Store }

// Update is the floor's only write.
func (a *floorActivities) Update(ctx context.Context, n int, reported string) error {
	_, err := a.store.DB().ExecContext(ctx, `update bench_floor set reported = $2 where id = $1`, n, reported)
	return err
}
