package review

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rollcall/inventory"
	"rollcall/inventory/selector"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Fleet is what an operator looks at before they decide about the devices of a fleet.
type Fleet struct {
	Name     string            `json:"name"`
	OrgID    string            `json:"orgId"`
	Labels   map[string]string `json:"labels,omitempty"`
	Selector string            `json:"selector"`
	// Devices counts the devices that the fleet owns by where they stand.
	Devices map[runbook.State]int `json:"devices"`
	// Template is the spec of its devices.
	Template json.RawMessage `json:"template,omitempty"`
	Commands []string        `json:"commands"`
}

// ReadFleet reads a fleet; nil is that there is none of the name.
func ReadFleet(ctx context.Context, store *inventory.Store, orgID, name string) (*Fleet, error) {
	found, err := store.Fleets(ctx, inventory.Query{OrgID: orgID, Names: []string{name}})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	spec := printer.ReadFleetSpec(found[0].Spec)
	f := &Fleet{
		Name: name, OrgID: orgID, Labels: found[0].Metadata.Labels, Selector: spec.LabelSelector().String(),
		Devices: map[runbook.State]int{}, Template: spec.Template.Spec,
	}
	owned, err := selector.ParseFieldSelector("devices", f.owned())
	if err != nil {
		return nil, fmt.Errorf("select the devices of fleet %q: %w", name, err)
	}
	positions, err := store.Position(ctx, inventory.Query{OrgID: orgID, Fields: owned})
	if err != nil {
		return nil, err
	}
	resumable := false
	for _, p := range positions {
		f.Devices[p.State]++
		resumable = resumable || p.State == runbook.StateConflictPaused && p.RestoreID != ""
	}
	f.Commands = f.suggest(resumable)
	return f, nil
}

// owned is the field selector of the fleet's devices.
func (f *Fleet) owned() string {
	return selector.Equals("metadata.owner", inventory.KindFleet+"/"+f.Name)
}

func (f *Fleet) suggest(resumable bool) []string {
	owned := "--field-selector=" + f.owned()
	commands := []string{printer.Command(f.OrgID, "get", "devices", owned)}
	if resumable {
		commands = append(commands, printer.Command(f.OrgID, "diff", "devices", owned),
			printer.Command(f.OrgID, "resume", "devices", owned, "--dry-run"))
	}
	return append(commands, printer.Command(f.OrgID, "get", "fleet", f.Name, "-o", "yaml"))
}

// Text writes the fleet for people.
func (f *Fleet) Text(w io.Writer) error {
	var stand []string
	for _, state := range runbook.States {
		if n := f.Devices[state]; n > 0 {
			stand = append(stand, strconv.Itoa(n)+" "+string(state))
		}
	}
	writeHead(w, [][2]string{
		{"Name", f.Name},
		{"Org", runbook.OrgName(f.OrgID)},
		{"Labels", printer.OrNone(printer.Pairs(f.Labels))},
		{"Selector", printer.OrNone(f.Selector)},
		{"Devices", printer.OrNone(strings.Join(stand, ", "))},
	})
	fmt.Fprintln(w, "\nSpec of its devices:")
	if err := writeYAML(w, f.Template); err != nil {
		return err
	}
	return writeNext(w, f.Commands)
}
