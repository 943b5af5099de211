package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/simulator"
)

// demoActor is who acts in a demo, as the audit names them.
const demoActor = "demo"

// demo plays a restore of an example fleet on a running stack.
type demo struct {
	io     IO
	dir    string
	plan   demoPlan
	store  *inventory.Store
	client client.Client
	queue  string
	// gateway is where the agents find theirs, and caCert and caKey the files that sign their certificates.
	gateway, caCert, caKey string
	agents                 *simulator.Fleet
	// pace stretches the plan's times; 1 leaves them as they are.
	pace float64
	// eligible are the names of the devices that the restore must put on its roll, sorted. It is counted before the restore
	// starts, from the devices themselves, so that the roll can be held against it.
	eligible []string
	restore  *watch
	view     *progress
}

func newDemo(streams IO, dir string, plan demoPlan, stack *devStack) *demo {
	return &demo{
		io: streams, dir: dir, plan: plan, store: stack.store, client: stack.client, queue: stack.queue,
		gateway: stack.gatewayURL(), caCert: stack.caCert(), caKey: stack.caKey(),
		pace: 1, view: newProgress(streams),
	}
}

// prepare imports the fleet, and checks that the plan speaks of its devices.
func (d *demo) prepare(ctx context.Context) error {
	file, err := os.Open(filepath.Join(d.dir, demoFleetFile))
	if err != nil {
		return fmt.Errorf("read the demo's fleet: %w", err)
	}
	defer file.Close()
	imported, err := d.store.Import(ctx, file, inventory.ImportOptions{OrgID: runbook.DefaultOrgID, SkipExisting: true})
	if err != nil {
		return fmt.Errorf("import %s: %w", file.Name(), err)
	}
	fmt.Fprintf(d.io.Stderr, "imported %s, %s, %s (%d were there already)\n", count(imported.Devices, "device"),
		count(imported.Fleets, "fleet"), count(imported.EnrollmentRequests, "enrollment request"), imported.Skipped)
	devices, err := d.store.Devices(ctx, inventory.Query{})
	if err != nil {
		return err
	}
	if imported.Skipped == 0 && len(devices) < imported.Devices {
		return fmt.Errorf("%d devices were imported, but the database holds %d", imported.Devices, len(devices))
	}
	return d.look(devices)
}

// look finds out which devices are eligible, and whether the plan speaks of others.
func (d *demo) look(devices []inventory.Resource) error {
	unknown := d.plan.devices()
	for _, device := range devices {
		name := device.Metadata.Name
		unknown = slices.DeleteFunc(unknown, func(n string) bool { return n == name })
		lifecycle, err := lifecycleOf(device)
		if err != nil {
			return err
		}
		if runbook.Eligible(device.Metadata.DeletionTimestamp != nil, lifecycle) {
			d.eligible = append(d.eligible, name)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s speaks of devices that are not in the database: %v", filepath.Join(d.dir, demoReportsFile), unknown)
	}
	return nil
}

func lifecycleOf(device inventory.Resource) (string, error) {
	var status struct {
		Lifecycle struct {
			Status string `json:"status"`
		} `json:"lifecycle"`
	}
	if len(device.Status) == 0 {
		return "", nil
	}
	if err := json.Unmarshal(device.Status, &status); err != nil {
		return "", fmt.Errorf("read the status of device %q: %w", device.Metadata.Name, err)
	}
	return status.Lifecycle.Status, nil
}

// start starts a restore, or takes up the one that runs, and returns when the whole fleet is on its roll. An empty id is
// that of the running restore, else a new one.
func (d *demo) start(ctx context.Context, id string) error {
	id, err := d.restoreID(ctx, id)
	if err != nil {
		return err
	}
	run, err := d.workflow(ctx, id)
	if err != nil {
		return err
	}
	d.restore = &watch{id: id, store: d.store, client: d.client, ended: make(chan error, 1)}
	// Buffered, so that nobody needs to be there when it ends.
	go func() { d.restore.ended <- run.Get(ctx, nil) }()
	opened, err := d.restore.awaitOpen(ctx)
	if err != nil {
		return err
	}
	if !opened || !d.restore.awaitRoll(ctx) {
		return fmt.Errorf("restore %s has not put its devices on the roll in time", id)
	}
	return nil
}

func (d *demo) restoreID(ctx context.Context, id string) (string, error) {
	if id != "" {
		return id, nil
	}
	newest, err := d.store.RestoreStatus(ctx, "")
	if r := runbook.AsRefusal(err); err != nil && (r == nil || r.Code != runbook.CodeNotFound) {
		return "", fmt.Errorf("look for a running restore: %w", err)
	}
	if err == nil && newest.State == runbook.RestoreRunning {
		return newest.RestoreID, nil
	}
	return d.io.Now().UTC().Format("demo-20060102-150405"), nil
}

// workflow is the restore's workflow: the one that runs, or else a new one, which also takes up a restore whose workflow
// was lost.
func (d *demo) workflow(ctx context.Context, id string) (client.WorkflowRun, error) {
	running, err := d.runs(ctx, runbook.RestoreWorkflowID(id))
	if err != nil {
		return nil, err
	}
	if running {
		fmt.Fprintf(d.io.Stderr, "restore %s still runs; going on with it\n", id)
		return d.client.GetWorkflow(ctx, runbook.RestoreWorkflowID(id), ""), nil
	}
	o := &restoreOptions{globals: &globals{io: d.io, taskQueue: d.queue}, operator: operator{as: demoActor}, id: id}
	if err := o.precheck(ctx, d.store, ""); err != nil {
		return nil, err
	}
	fmt.Fprintf(d.io.Stderr, "starting restore %s\n", id)
	return o.start(ctx, d.client, "")
}

func (d *demo) runs(ctx context.Context, workflowID string) (bool, error) {
	found, err := d.client.DescribeWorkflowExecution(ctx, workflowID, "")
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &missing):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for workflow %s: %w", workflowID, err)
	}
	return found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}
