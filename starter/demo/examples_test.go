package demo

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/simulator"
)

// exampleDir is where the example fleet stands, seen from this package.
const exampleDir = "../../examples"

// exampleDevice is a device of the example with what it reports.
type exampleDevice struct {
	inventory.Resource
	reports     []string
	straggler   bool
	isWithdrawn bool
}

func (d exampleDevice) restored() string {
	return d.Metadata.Annotations[runbook.AnnotationRenderedVersion]
}

// reconnect is what its first report that can be read decides.
func (d exampleDevice) reconnect() runbook.ReconnectDecision {
	for _, version := range d.reports {
		if decision, err := runbook.DecideReconnect(d.restored(), version); err == nil {
			return decision
		}
	}
	return runbook.ReconnectDecision{}
}

func (d exampleDevice) pausedIn(fleet, environment string) bool {
	owner := d.Metadata.Owner
	return d.reconnect().To == runbook.StateConflictPaused && strings.TrimPrefix(owner, "Fleet/") == fleet &&
		d.Metadata.Labels["environment"] == environment
}

func TestExamplesImportAndHoldEveryKind(t *testing.T) {
	t.Parallel()
	devices, requests := importExamples(t)
	for _, fleet := range []string{"store", "plant", "turbine", ""} {
		for _, environment := range []string{"production", "staging"} {
			require.True(t, slices.ContainsFunc(devices, func(d exampleDevice) bool { return d.pausedIn(fleet, environment) }),
				"no device of fleet %q and %s is paused", fleet, environment)
		}
	}
	for kind, is := range exampleKinds {
		require.True(t, slices.ContainsFunc(devices, is), "no device of the kind %q", kind)
	}
	for kind, is := range exampleRequests {
		require.True(t, slices.ContainsFunc(requests, is), "no enrollment request of the kind %q", kind)
	}
}

// exampleKinds are the kinds of devices that the README of the example promises.
var exampleKinds = map[string]func(exampleDevice) bool{
	"equal": func(d exampleDevice) bool { return d.reconnect().Updated == runbook.UpdatedUpToDate },
	"behind": func(d exampleDevice) bool {
		return d.reconnect().To == runbook.StateNormal && d.reconnect().Updated == runbook.UpdatedOutOfDate
	},
	"ahead": func(d exampleDevice) bool {
		return d.reconnect().To == runbook.StateConflictPaused && !unreadable(d.restored())
	},
	"10 is newer than 9": func(d exampleDevice) bool {
		return d.restored() == "9" && slices.Contains(d.reports, "10")
	},
	"never deployed, normal": func(d exampleDevice) bool {
		return d.restored() == "" && d.reconnect().To == runbook.StateNormal
	},
	"never deployed, paused": func(d exampleDevice) bool {
		return d.restored() == "" && d.reconnect().To == runbook.StateConflictPaused
	},
	"unreadable restored version": func(d exampleDevice) bool {
		return unreadable(d.restored()) && d.reconnect().To == runbook.StateConflictPaused
	},
	"left-over conflictPaused": func(d exampleDevice) bool {
		return runbook.StateOf(d.Metadata.Annotations) == runbook.StateConflictPaused
	},
	"both annotations": func(d exampleDevice) bool {
		a, _ := d.annotation(runbook.AnnotationAwaitingReconnect)
		c, _ := d.annotation(runbook.AnnotationConflictPaused)
		return a == runbook.AnnotationTrue && c == runbook.AnnotationTrue
	},
	"awaitingReconnect with another value": func(d exampleDevice) bool {
		v, ok := d.annotation(runbook.AnnotationAwaitingReconnect)
		return ok && v != runbook.AnnotationTrue
	},
	"conflictPaused with another value": func(d exampleDevice) bool {
		v, ok := d.annotation(runbook.AnnotationConflictPaused)
		return ok && v != runbook.AnnotationTrue
	},
	"decommissioning": func(d exampleDevice) bool { return d.lifecycle() == "Decommissioning" },
	"decommissioned":  func(d exampleDevice) bool { return d.lifecycle() == "Decommissioned" },
	"no labels":       func(d exampleDevice) bool { return len(d.Metadata.Labels) == 0 },
	"no status":       func(d exampleDevice) bool { return !strings.Contains(string(d.Status), "summary") },
	"unknown fields": func(d exampleDevice) bool {
		return strings.Contains(string(d.Spec), "9007199254740993") &&
			strings.Contains(string(d.Status), "9223372036854775807")
	},
	"first report refused": func(d exampleDevice) bool { return len(d.reports) > 1 && unreadable(d.reports[0]) },
	"same report twice":    func(d exampleDevice) bool { return len(d.reports) > 1 && d.reports[0] == d.reports[1] },
	"paused, then another": func(d exampleDevice) bool {
		return len(d.reports) > 1 && d.reconnect().Reported == d.reports[0] && d.reports[1] != d.reports[0] &&
			d.reconnect().To == runbook.StateConflictPaused
	},
	"straggler":                func(d exampleDevice) bool { return d.straggler },
	"decommissioned meanwhile": func(d exampleDevice) bool { return d.isWithdrawn },
	"without a fleet":          func(d exampleDevice) bool { return d.Metadata.Owner == "" },
}

func unreadable(version string) bool { _, err := runbook.ParseVersion(version); return err != nil }

func (d exampleDevice) annotation(name string) (string, bool) {
	v, ok := d.Metadata.Annotations[name]
	return v, ok
}

func (d exampleDevice) lifecycle() string {
	status, err := lifecycleOf(d.Resource)
	if err != nil {
		return err.Error()
	}
	return status
}

// exampleRequests are the kinds of enrollment requests, by what their JSON holds.
var exampleRequests = map[string]func(inventory.Resource) bool{
	"pending, deployed":       func(r inventory.Resource) bool { return !decided(r) && known(r) == "8" },
	"pending, never deployed": func(r inventory.Resource) bool { return !decided(r) && known(r) == "" },
	"pending, version zero":   func(r inventory.Resource) bool { return !decided(r) && known(r) == "0" },
	"approved":                func(r inventory.Resource) bool { return strings.Contains(string(r.Status), `"Approved"`) },
	"denied":                  func(r inventory.Resource) bool { return strings.Contains(string(r.Status), `"Denied"`) },
}

func decided(r inventory.Resource) bool { return strings.Contains(string(r.Status), "approval") }

func known(r inventory.Resource) string {
	var spec struct {
		KnownRenderedVersion string `json:"knownRenderedVersion"`
	}
	if err := json.Unmarshal(r.Spec, &spec); err != nil {
		return err.Error()
	}
	return spec.KnownRenderedVersion
}

// importExamples imports the example into a database and reads it back, with what each device reports.
func importExamples(t *testing.T) ([]exampleDevice, []inventory.Resource) {
	t.Helper()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	file, err := os.Open(exampleDir + "/" + FleetFile)
	require.NoError(t, err)
	defer file.Close()
	imported, err := store.Import(t.Context(), file, inventory.ImportOptions{OrgID: runbook.DefaultOrgID})
	require.NoError(t, err)
	require.Equal(t, inventory.ImportResult{Devices: 64, Fleets: 3, EnrollmentRequests: 5}, imported)
	plan, err := simulator.ReadScenario(exampleDir + "/" + ReportsFile)
	require.NoError(t, err)

	found, err := store.Devices(t.Context(), inventory.Query{})
	require.NoError(t, err)
	d := &Demo{dir: exampleDir, plan: plan}
	require.NoError(t, d.look(found))
	require.Len(t, d.Eligible, 60)
	require.Subset(t, planned(plan), d.Eligible, "an eligible device that no one has planned for")
	requests, err := store.EnrollmentRequests(t.Context(), inventory.Query{})
	require.NoError(t, err)
	return withReports(found, plan), requests
}

func withReports(found []inventory.Resource, plan simulator.Scenario) []exampleDevice {
	devices := make([]exampleDevice, len(found))
	for i, r := range found {
		name := r.Metadata.Name
		devices[i] = exampleDevice{
			Resource:  r,
			straggler: slices.ContainsFunc(plan.Stragglers, func(s simulator.Report) bool { return s.Device == name }),
			isWithdrawn: slices.ContainsFunc(plan.Decommissioned, func(d simulator.Decommission) bool {
				return d.Device == name
			}),
		}
		for _, report := range slices.Concat(plan.Reports, plan.Stragglers) { // the file is in the order of time
			if report.Device == name {
				devices[i].reports = append(devices[i].reports, report.RenderedVersion)
			}
		}
	}
	return devices
}
