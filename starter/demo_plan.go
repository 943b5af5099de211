package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

// The files of a demo's directory.
const (
	demoFleetFile   = "fleet.yaml"
	demoReportsFile = "reports.yaml"
)

// demoPlan is what the devices of a demo do after the restore: the content of its reports.yaml.
type demoPlan struct {
	Reports []demoReport `json:"reports"`
	// Stragglers do not come back by themselves; a demo that is played to its end makes them report this at last.
	Stragglers     []demoReport       `json:"stragglers"`
	Decommissioned []demoDecommission `json:"decommissioned"`
}

// demoReport is a device's report. RenderedVersion is sent as it stands, readable or not.
type demoReport struct {
	// AfterSeconds counts from the moment at which the whole fleet is on the roll.
	AfterSeconds    float64 `json:"afterSeconds"`
	Device          string  `json:"device"`
	RenderedVersion string  `json:"renderedVersion"`
}

// demoDecommission is a device that is taken out of service while the roll call waits for it.
type demoDecommission struct {
	AfterSeconds float64 `json:"afterSeconds"`
	Device       string  `json:"device"`
	By           string  `json:"by"`
	Reason       string  `json:"reason"`
}

// loadDemoPlan reads the plan of the demo in dir. A field that does not belong there is an error, as is an entry without a
// device, or with a time that cannot be.
func loadDemoPlan(dir string) (demoPlan, error) {
	path := filepath.Join(dir, demoReportsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return demoPlan{}, fmt.Errorf("read the demo's reports: %w", err)
	}
	var plan demoPlan
	if err := yaml.UnmarshalStrict(text, &plan); err != nil {
		return demoPlan{}, fmt.Errorf("read %s: %w", path, err)
	}
	if err := plan.check(); err != nil {
		return demoPlan{}, fmt.Errorf("read %s: %w", path, err)
	}
	return plan, nil
}

func (p demoPlan) check() error {
	var errs []error
	complain := func(list string, i int, device string, after float64) {
		if device == "" {
			errs = append(errs, fmt.Errorf("%s[%d]: it names no device", list, i))
		}
		if after < 0 || after > time.Hour.Seconds() {
			errs = append(errs, fmt.Errorf("%s[%d]: afterSeconds %v is not between 0 and 3600", list, i, after))
		}
	}
	for i, r := range p.Reports {
		complain("reports", i, r.Device, r.AfterSeconds)
	}
	for i, r := range p.Stragglers {
		complain("stragglers", i, r.Device, r.AfterSeconds)
	}
	for i, d := range p.Decommissioned {
		complain("decommissioned", i, d.Device, d.AfterSeconds)
	}
	return errors.Join(errs...)
}

// devices are the names of all devices in the plan, sorted.
func (p demoPlan) devices() []string {
	var names []string
	for _, r := range slices.Concat(p.Reports, p.Stragglers) {
		names = append(names, r.Device)
	}
	for _, d := range p.Decommissioned {
		names = append(names, d.Device)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// byDevice puts each device's reports together, in the order of time: a device sends one after the other.
func byDevice(reports []demoReport) map[string][]demoReport {
	grouped := map[string][]demoReport{}
	for _, r := range reports {
		grouped[r.Device] = append(grouped[r.Device], r)
	}
	for _, one := range grouped {
		slices.SortStableFunc(one, func(a, b demoReport) int { return cmp.Compare(a.AfterSeconds, b.AfterSeconds) })
	}
	return grouped
}
