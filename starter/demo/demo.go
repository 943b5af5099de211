// Package demo plays a restore of an example fleet on a running stack.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/simulator"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// actor is who acts in a demo, as the audit names them.
const actor = "demo"

// besideInterval is how often the restore looks at what Flight Control has decided.
const besideInterval = 500 * time.Millisecond

// The files of a demo's directory.
const (
	FleetFile   = "fleet.yaml"
	ReportsFile = "reports.yaml"
)

// Demo plays a restore of an example fleet on a running stack.
type Demo struct {
	io   printer.IO
	dir  string
	plan simulator.Scenario
	Config
	agents *simulator.Fleet
	// Pace stretches the plan's times; 1 leaves them as they are.
	Pace float64
	// Eligible are the names of the devices that the restore must put on its roll, sorted. It is counted before the
	// restore starts, from the devices themselves, so that the roll can be held against it.
	Eligible []string
	// resumed holds the paused devices that were resumed, with the reported versions that were decided about.
	resumed map[string]string
	restore *ask.Watch
	view    *printer.Progress
}

// Config is the stack that a demo is played on.
type Config struct {
	Store *inventory.Store
	// Owner is for what others than Rollcall do in the database.
	Owner  *inventory.Store
	Client client.Client
	Queue  string
	// Gateway is where the agents find theirs, and CACert and CAKey the files that sign their certificates.
	Gateway, CACert, CAKey string
	// Beside reports whether a Flight Control answers there, which decides and renders.
	Beside bool
}

// New prepares a demo of the fleet in dir, which goes as plan says, on the stack of cfg.
func New(streams printer.IO, dir string, plan simulator.Scenario, cfg Config) *Demo {
	return &Demo{
		io: streams, dir: dir, plan: plan, Config: cfg, Pace: 1, resumed: map[string]string{},
		view: printer.NewProgress(streams),
	}
}

// Prepare imports the fleet, and checks that the plan speaks of its devices.
func (d *Demo) Prepare(ctx context.Context) error {
	file, err := os.Open(filepath.Join(d.dir, FleetFile))
	if err != nil {
		return fmt.Errorf("read the demo's fleet: %w", err)
	}
	defer file.Close()
	imported, err := d.Store.Import(ctx, file, inventory.ImportOptions{OrgID: runbook.DefaultOrgID, SkipExisting: true})
	if err != nil {
		return fmt.Errorf("import %s: %w", file.Name(), err)
	}
	fmt.Fprintf(d.io.Stderr, "imported %s, %s, %s (%d were there already)\n", printer.Count(imported.Devices, "device"),
		printer.Count(imported.Fleets, "fleet"), printer.Count(imported.EnrollmentRequests, "enrollment request"),
		imported.Skipped)
	devices, err := d.Store.Devices(ctx, inventory.Query{})
	if err != nil {
		return err
	}
	if imported.Skipped == 0 && len(devices) < imported.Devices {
		return fmt.Errorf("%d devices were imported, but the database holds %d", imported.Devices, len(devices))
	}
	return d.look(devices)
}

// look finds out which devices are eligible, and whether the plan speaks of others.
func (d *Demo) look(devices []inventory.Resource) error {
	unknown := planned(d.plan)
	for _, device := range devices {
		name := device.Metadata.Name
		unknown = slices.DeleteFunc(unknown, func(n string) bool { return n == name })
		lifecycle, err := lifecycleOf(device)
		if err != nil {
			return err
		}
		if runbook.Eligible(device.Metadata.DeletionTimestamp != nil, lifecycle) {
			d.Eligible = append(d.Eligible, name)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s speaks of devices that are not in the database: %v", filepath.Join(d.dir, ReportsFile), unknown)
	}
	return nil
}

// planned are the names of all devices that a plan speaks of, sorted.
func planned(plan simulator.Scenario) []string {
	names := plan.Devices()
	for _, d := range plan.Decommissioned {
		names = append(names, d.Device)
	}
	slices.Sort(names)
	return slices.Compact(names)
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

// Start starts a restore, or takes up the one that runs, and returns when the whole fleet is on its roll. An empty id
// is that of the running restore, else a new one.
func (d *Demo) Start(ctx context.Context, id string) error {
	id, err := d.restoreID(ctx, id)
	if err != nil {
		return err
	}
	run, err := d.workflow(ctx, id)
	if err != nil {
		return err
	}
	d.restore = &ask.Watch{ID: id, Store: d.Store, Client: d.Client, Ended: make(chan error, 1)}
	// Buffered, so that no one needs to be there when it ends.
	go func() { d.restore.Ended <- run.Get(ctx, nil) }()
	opened, err := d.restore.AwaitOpen(ctx)
	if err != nil {
		return err
	}
	if !opened || !d.restore.AwaitRoll(ctx) {
		return fmt.Errorf("restore %s has not put its devices on the roll in time", id)
	}
	return nil
}

func (d *Demo) restoreID(ctx context.Context, id string) (string, error) {
	if id != "" {
		return id, nil
	}
	newest, err := d.Store.RestoreStatus(ctx, "")
	if r := runbook.AsRefusal(err); err != nil && (r == nil || r.Code != runbook.CodeNotFound) {
		return "", fmt.Errorf("look for a running restore: %w", err)
	}
	if err == nil && newest.State == runbook.RestoreRunning {
		return newest.RestoreID, nil
	}
	return d.io.Now().UTC().Format("demo-20060102-150405"), nil
}

// workflow is the restore's workflow: the one that runs, or else a new one, which also takes up a restore whose
// workflow was lost.
func (d *Demo) workflow(ctx context.Context, id string) (client.WorkflowRun, error) {
	running, err := d.runs(ctx, runbook.RestoreWorkflowID(id))
	if err != nil {
		return nil, err
	}
	if running {
		fmt.Fprintf(d.io.Stderr, "restore %s still runs; going on with it\n", id)
		return d.Client.GetWorkflow(ctx, runbook.RestoreWorkflowID(id), ""), nil
	}
	o := ask.Restore{ID: id, By: actor, Queue: d.Queue}
	if d.Beside {
		o.WatchInterval = besideInterval
	}
	if err := o.Precheck(ctx, d.Store, ""); err != nil {
		return nil, err
	}
	fmt.Fprintf(d.io.Stderr, "starting restore %s\n", id)
	return o.Start(ctx, d.Client, "")
}

func (d *Demo) runs(ctx context.Context, workflowID string) (bool, error) {
	found, err := d.Client.DescribeWorkflowExecution(ctx, workflowID, "")
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &missing):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for workflow %s: %w", workflowID, err)
	}
	return found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}
