package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/simulator"
	"rollcall/starter/printer"
)

// seed is what a demo's chance is drawn from, so that each plays the same night.
const seed = 1

// caughtUpTimeout is how long the end of a demo waits for agents to apply what they were served.
const caughtUpTimeout = 5 * time.Second

// CallAgents lets the agents of the plan come back over the gateway, once the whole roll call listens. They live until
// ctx is done or wait is called, which returns when they have ended.
func (d *Demo) CallAgents(ctx context.Context) (wait func(), err error) {
	if err := d.awaitWorkflows(ctx); err != nil {
		return nil, err
	}
	ca, err := authority.Load(d.CACert, d.CAKey)
	if err != nil {
		return nil, err
	}
	found, err := d.Store.Devices(ctx, inventory.Query{})
	if err != nil {
		return nil, err
	}
	devices, err := AgentsOf(found)
	if err != nil {
		return nil, err
	}
	d.agents, err = simulator.New(ctx, simulator.Config{
		Gateway: d.Gateway, CA: ca, Devices: devices, Scenario: d.plan, Seed: seed, Pace: d.Pace,
		Timing: simulator.BriskTiming(),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.agents.Run(ctx)
	}()
	return func() { cancel(); <-ended }, nil
}

// awaitWorkflows waits a little until the workflow of each device that is waited for is there: an agent that came
// before would be told to come again some seconds later, and a demo has half a minute.
func (d *Demo) awaitWorkflows(ctx context.Context) error {
	waiting, err := d.open(ctx)
	if err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, workflowTimeout)
	defer cancel()
	for _, entry := range waiting {
		for patient.Err() == nil {
			running, err := d.runs(ctx, runbook.DeviceWorkflowID(entry.OrgID, entry.Name))
			if err != nil {
				return err
			}
			if running || !d.Store.StartsSoon(patient, entry.OrgID, entry.Name) {
				break
			}
		}
	}
	return ctx.Err()
}

// CaughtUp waits a little until every device that is back runs what was rendered for it, and says how many do. A device
// without a spec has nothing to catch up with, and may stay behind.
func (d *Demo) CaughtUp(ctx context.Context) (said string, err error) {
	patient, cancel := context.WithTimeout(ctx, caughtUpTimeout)
	defer cancel()
	for {
		found, err := d.Store.Devices(ctx, inventory.Query{Names: d.Eligible})
		if err != nil {
			return "", err
		}
		found = slices.DeleteFunc(found, func(r inventory.Resource) bool {
			return runbook.StateOf(r.Metadata.Annotations).Open() || !slices.Contains(d.plan.Devices(), r.Metadata.Name)
		})
		upToDate := 0
		for _, r := range found {
			if status := printer.ReadDeviceStatus(r.Status); status.Updated.Status == runbook.UpdatedUpToDate {
				upToDate++
			}
		}
		said = fmt.Sprintf("%d of %s that came back run what was rendered for them", upToDate,
			printer.Count(len(found), "device"))
		if upToDate == len(found) || patient.Err() != nil {
			return said, ctx.Err()
		}
		select {
		case <-patient.Done():
		case <-time.After(workflowInterval):
		}
	}
}

// AgentsOf are the devices that have an agent: one that is being taken out of service has none that would come back.
func AgentsOf(found []inventory.Resource) ([]simulator.Device, error) {
	var devices []simulator.Device
	for _, d := range found {
		lifecycle, err := lifecycleOf(d)
		if err != nil {
			return nil, err
		}
		if runbook.Eligible(d.Metadata.DeletionTimestamp != nil, lifecycle) {
			devices = append(devices, simulator.Device{
				Name: d.Metadata.Name, Restored: d.Metadata.Annotations[runbook.AnnotationRenderedVersion], Status: d.Status,
			})
		}
	}
	return devices, nil
}
