package review

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/inventory"
	"rollcall/inventory/specdiff"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// PlannedSet is the frozen set of a plan: what `plan resume -o json` prints, and what its text is made of.
type PlannedSet struct {
	PlanID    string                  `json:"planId"`
	RestoreID string                  `json:"restoreId"`
	ExpiresAt time.Time               `json:"expiresAt"`
	Devices   []printer.PlannedDevice `json:"devices"`
	// Skipped is the number of devices that matched and are not paused.
	Skipped int            `json:"skipped"`
	Groups  []PlannedGroup `json:"groups"`
	// Changes are what a resume would change, in the groups of `diff`.
	Changes []specdiff.Group `json:"changes"`
	// OnRoll is how many devices the restore has on its roll.
	OnRoll int64 `json:"onRoll"`

	// OrgID is the organisation of the devices.
	OrgID  string `json:"-"`
	reason string
}

// PlannedGroup counts the devices of a fleet for which a resume means the same.
type PlannedGroup struct {
	Fleet           string `json:"fleet,omitempty"`
	RestoredVersion string `json:"restoredVersion"`
	ReportedVersion string `json:"reportedVersion"`
	NextVersion     string `json:"nextVersion"`
	Devices         int    `json:"devices"`
}

// Freeze returns the set of those devices that are paused, and groups them.
func Freeze(id, orgID, reason string, expires time.Time, found []inventory.DevicePosition) PlannedSet {
	set := PlannedSet{
		PlanID: id, ExpiresAt: expires, Devices: []printer.PlannedDevice{}, Groups: []PlannedGroup{},
		Changes: []specdiff.Group{}, OrgID: orgID, reason: reason,
	}
	groups := map[PlannedGroup]int{}
	for _, d := range found {
		if d.State != runbook.StateConflictPaused || d.RestoreID == "" {
			set.Skipped++
			continue
		}
		set.RestoreID = d.RestoreID
		one := printer.PlannedDevice{
			Name: d.Name, RestoredVersion: runbook.OrZero(d.Restored), ReportedVersion: runbook.OrZero(d.Reported),
		}
		// A device that cannot be resumed as it stands refuses by name when it is asked, and holds up no other.
		if next, err := d.MayResume("", ""); err == nil {
			one.NextVersion = next.String()
		}
		set.Devices = append(set.Devices, one)
		groups[PlannedGroup{
			Fleet: d.Fleet, RestoredVersion: one.RestoredVersion, ReportedVersion: one.ReportedVersion,
			NextVersion: one.NextVersion,
		}]++
	}
	for group, n := range groups {
		group.Devices = n
		set.Groups = append(set.Groups, group)
	}
	slices.SortFunc(set.Groups, func(a, b PlannedGroup) int {
		return cmp.Or(b.Devices-a.Devices, strings.Compare(a.Fleet, b.Fleet),
			strings.Compare(a.ReportedVersion, b.ReportedVersion), strings.Compare(a.RestoredVersion, b.RestoredVersion))
	})
	return set
}

// Holds reports whether the plan holds the device of a name.
func (s PlannedSet) Holds(name string) bool {
	return slices.ContainsFunc(s.Devices, func(d printer.PlannedDevice) bool { return d.Name == name })
}

// Table writes the groups for people: versions first, then what would change.
func (s PlannedSet) Table(w io.Writer) error {
	rows := make([][]string, len(s.Groups))
	for i, g := range s.Groups {
		rows[i] = []string{
			strconv.Itoa(g.Devices), printer.OrNone(g.Fleet), g.RestoredVersion, g.ReportedVersion,
			printer.OrNone(g.NextVersion),
		}
	}
	if err := printer.Table(w, []string{"DEVICES", "FLEET", "RESTORED", "REPORTED", "RENDERED NEXT"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nwhat would change:")
	for _, g := range s.Changes {
		fmt.Fprintf(w, "  %s\n", printer.OneLine(g.String()))
	}
	fmt.Fprintf(w, "\nplan %s: %s, until %s", s.PlanID, printer.Count(len(s.Devices), "device"),
		printer.Stamp(s.ExpiresAt))
	if s.Skipped > 0 {
		fmt.Fprintf(w, "; %d more matched but are not paused", s.Skipped)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// Text writes the set for people, with the command that carries it out. Above the share of the roll the command has to
// name the count.
func (s PlannedSet) Text(w io.Writer, share float64) error {
	if err := s.Table(w); err != nil {
		return err
	}
	command := []string{"resume", "--plan", s.PlanID}
	if count := int64(len(s.Devices)); runbook.AboveShare(count, s.OnRoll, share) {
		command = append(command, "--confirm", strconv.FormatInt(count, 10))
	}
	if s.reason == "" {
		command = append(command, "--reason", "checked on site")
	}
	_, err := fmt.Fprintf(w, "resume them: %s\n", printer.Command(s.OrgID, command...))
	return err
}
