package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"rollcall/simulator"
)

// The files of a demo's directory.
const (
	demoFleetFile   = "fleet.yaml"
	demoReportsFile = "reports.yaml"
)

// demoPlan is what happens in a demo after the restore: the content of its reports.yaml. What the agents do is a scenario
// of the simulator; in a demo that is played to its end the stragglers are called at last.
type demoPlan struct {
	simulator.Scenario
	// Decommissioned is what is no agent's doing.
	Decommissioned []demoDecommission `json:"decommissioned"`
}

// demoDecommission is a device that is taken out of service while the roll call waits for it.
type demoDecommission struct {
	// AfterSeconds counts from the moment at which the whole fleet is on the roll.
	AfterSeconds float64 `json:"afterSeconds"`
	Device       string  `json:"device"`
	By           string  `json:"by"`
	Reason       string  `json:"reason"`
}

// loadDemoPlan reads the plan of the demo in dir. A field that does not belong there is an error, as is an entry without a
// device, or with a time that cannot be.
func loadDemoPlan(dir string) (demoPlan, error) {
	var plan demoPlan
	if err := simulator.ReadScenario(filepath.Join(dir, demoReportsFile), &plan); err != nil {
		return demoPlan{}, err
	}
	return plan, nil
}

// Check joins everything that is wrong.
func (p demoPlan) Check() error {
	errs := []error{p.Scenario.Check()}
	for i, d := range p.Decommissioned {
		if d.Device == "" {
			errs = append(errs, fmt.Errorf("decommissioned[%d]: it names no device", i))
		}
		if d.AfterSeconds < 0 || d.AfterSeconds > time.Hour.Seconds() {
			errs = append(errs, fmt.Errorf("decommissioned[%d]: afterSeconds %v is not between 0 and 3600", i, d.AfterSeconds))
		}
	}
	return errors.Join(errs...)
}

// devices are the names of all devices in the plan, sorted.
func (p demoPlan) devices() []string {
	names := p.Devices()
	for _, d := range p.Decommissioned {
		names = append(names, d.Device)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// lastReport is when the last of the reports is due, in seconds.
func (p demoPlan) lastReport() float64 {
	last := 0.0
	for _, r := range p.Reports {
		last = max(last, r.AfterSeconds)
	}
	return last
}
