package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

// Scenario says what the agents of a fleet do after a restore. Times are in seconds from the start of the fleet;
// shares are of the devices that are not named.
type Scenario struct {
	// Fleet says what becomes of the devices that Reports and Stragglers do not name. Without it these stay away where
	// others are named, and are all Equal where none is.
	Fleet *Fates `json:"fleet,omitempty"`
	// BackWithinSeconds is the time over which they come back.
	BackWithinSeconds float64 `json:"backWithinSeconds,omitempty"`
	// ApplySeconds is how long an agent takes to apply a version.
	ApplySeconds Range `json:"applySeconds,omitzero"`
	// The behaviours are of all agents, the named ones too; an agent may have several.
	Slow      Slow      `json:"slow,omitzero"`
	Failing   Failing   `json:"failing,omitzero"`
	Rebooting Rebooting `json:"rebooting,omitzero"`
	Flaky     Flaky     `json:"flaky,omitzero"`
	// Reports are what devices that are named report, and when.
	Reports []Report `json:"reports,omitempty"`
	// Stragglers come back only when they are called, and their times count from then.
	Stragglers []Report `json:"stragglers,omitempty"`
	// Decommissioned are devices that the service takes out of service meanwhile. No agent does that: whoever plays the
	// scenario's service does.
	Decommissioned []Decommission `json:"decommissioned,omitempty"`
}

// Decommission is a device that is taken out of service while the roll call waits for it.
type Decommission struct {
	// AfterSeconds counts from the moment at which the whole fleet is on the roll.
	AfterSeconds float64 `json:"afterSeconds"`
	Device       string  `json:"device"`
	By           string  `json:"by"`
	Reason       string  `json:"reason"`
}

// Fates are how many devices come back in which way. Those that no amount takes are Equal.
type Fates struct {
	// Ahead run a newer version than the restored one, Equal the same, Behind an older one.
	Ahead  Amount `json:"ahead,omitzero"`
	Equal  Amount `json:"equal,omitzero"`
	Behind Amount `json:"behind,omitzero"`
	// NeverDeployed run nothing, and NeverBack do not come back.
	NeverDeployed Amount `json:"neverDeployed,omitzero"`
	NeverBack     Amount `json:"neverBack,omitzero"`
	// Unknown are agents beside the fleet's, which the service does not know: half of them run something and have a
	// certificate, as they were approved after the backup was taken; half are new.
	Unknown Amount `json:"unknown,omitzero"`
}

// Slow agents take another time to apply a version.
type Slow struct {
	Share        Amount `json:"share"`
	ApplySeconds Range  `json:"applySeconds"`
}

// Failing agents fail so many times at a version, or each time where Times is 0, and stay at their own.
type Failing struct {
	Share Amount `json:"share"`
	Times int    `json:"times,omitempty"`
}

// Rebooting agents reboot into a version, and are away meanwhile.
type Rebooting struct {
	Share       Amount `json:"share"`
	AwaySeconds Range  `json:"awaySeconds"`
}

// Flaky agents lose their connection now and then.
type Flaky struct {
	Share        Amount `json:"share"`
	EverySeconds Range  `json:"everySeconds"`
	AwaySeconds  Range  `json:"awaySeconds"`
}

// Report is what a device reports from a moment on: exactly this text, readable or not.
type Report struct {
	AfterSeconds    float64 `json:"afterSeconds,omitempty"`
	Device          string  `json:"device"`
	RenderedVersion string  `json:"renderedVersion"`
}

// DefaultScenario is a little of everything, over half a minute.
func DefaultScenario() Scenario {
	return Scenario{
		Fleet: &Fates{
			Ahead: Amount{Share: 0.15}, Behind: Amount{Share: 0.1}, NeverDeployed: Amount{Share: 0.02},
			NeverBack: Amount{Share: 0.03},
		},
		BackWithinSeconds: 30,
		ApplySeconds:      Range{1, 4},
		Slow:              Slow{Share: Amount{Share: 0.1}, ApplySeconds: Range{10, 30}},
		Failing:           Failing{Share: Amount{Share: 0.02}, Times: 2},
		Rebooting:         Rebooting{Share: Amount{Share: 0.1}, AwaySeconds: Range{3, 10}},
		Flaky:             Flaky{Share: Amount{Share: 0.05}, EverySeconds: Range{20, 120}, AwaySeconds: Range{2, 20}},
	}
}

// ReadScenario reads a scenario from a YAML file. A field that does not belong there is an error, and so is what Check
// complains of; the error names the file.
func ReadScenario(path string) (Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Scenario{}, fmt.Errorf("read the scenario: %w", err)
	}
	var s Scenario
	if err := yaml.UnmarshalStrict(text, &s); err != nil {
		return Scenario{}, fmt.Errorf("read scenario %s: %w", path, err)
	}
	if err := s.Check(); err != nil {
		return Scenario{}, fmt.Errorf("read scenario %s: %w", path, err)
	}
	return s, nil
}

// Check joins everything that is wrong.
func (s Scenario) Check() error {
	var errs []error
	if s.BackWithinSeconds < 0 || s.BackWithinSeconds > maxSeconds {
		errs = append(errs, fmt.Errorf("backWithinSeconds %v is not between 0 and %v", s.BackWithinSeconds, maxSeconds))
	}
	if s.Failing.Times < 0 {
		errs = append(errs, fmt.Errorf("failing.times %d is below zero", s.Failing.Times))
	}
	if !s.Flaky.Share.IsZero() && s.Flaky.EverySeconds.From <= 0 {
		errs = append(errs, errors.New("flaky.everySeconds: say how often, in seconds above zero"))
	}
	return errors.Join(append(errs, checkReports("reports", s.Reports), checkReports("stragglers", s.Stragglers),
		checkDecommissions(s.Decommissioned))...)
}

// maxSeconds is how late anything in a scenario may be.
var maxSeconds = time.Hour.Seconds()

func checkReports(list string, reports []Report) error {
	var errs []error
	for i, r := range reports {
		errs = append(errs, checkTimed(list, i, r.Device, r.AfterSeconds))
	}
	return errors.Join(errs...)
}

func checkDecommissions(decommissions []Decommission) error {
	var errs []error
	for i, d := range decommissions {
		errs = append(errs, checkTimed("decommissioned", i, d.Device, d.AfterSeconds))
	}
	return errors.Join(errs...)
}

// checkTimed checks an entry of a list: it names a device, and its time can be.
func checkTimed(list string, i int, device string, after float64) error {
	var errs []error
	if device == "" {
		errs = append(errs, fmt.Errorf("%s[%d]: it names no device", list, i))
	}
	if after < 0 || after > maxSeconds {
		errs = append(errs, fmt.Errorf("%s[%d]: afterSeconds %v is not between 0 and %v", list, i, after, maxSeconds))
	}
	return errors.Join(errs...)
}

// Devices are the names of the devices that the scenario names, sorted.
func (s Scenario) Devices() []string {
	var names []string
	for _, r := range slices.Concat(s.Reports, s.Stragglers) {
		names = append(names, r.Device)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// byDevice puts each device's reports together, in the order of time: a device sends one after the other.
func byDevice(reports []Report) map[string][]Report {
	grouped := map[string][]Report{}
	for _, r := range reports {
		grouped[r.Device] = append(grouped[r.Device], r)
	}
	for _, one := range grouped {
		slices.SortStableFunc(one, func(a, b Report) int { return cmp.Compare(a.AfterSeconds, b.AfterSeconds) })
	}
	return grouped
}
