package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/inventory/specdiff"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

type diffOptions struct {
	*globals
	selectors
	output *printer.Format
	names  []string
	all    bool
}

func newDiffCommand(g *globals) *cobra.Command {
	o := &diffOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "diff (device NAME... | devices -l SELECTOR | devices --field-selector SELECTOR | devices --all)",
		Short: "Show what a resume would make devices do",
		Long: `Compares what the spec of a device asks for with what the device last reported to run: the image of its
operating system, the image's digest, and its applications. The spec is the template of the fleet that owns the device,
or the device's own. A step to an older version is marked "backwards". Of several devices it shows groups for which the
same would change; with selectors or --all it looks at paused devices only. Exit code 3: nothing matched.`,
		Example: `  starter diff device web-7
  starter diff devices -l environment=production
  starter diff devices --all -o json`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
	}
	o.selectors.bind(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "every paused device of the organisation")
	o.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		_, names, err := parseTarget(args, deviceKind)
		if err != nil {
			return err
		}
		o.names = distinct(names)
		if err := o.selectors.complete(cmd, deviceKind); err != nil {
			return err
		}
		if (len(o.names) > 0) == (o.all || o.selectors.given()) {
			return usagef("say which devices: name them, or use --selector, --field-selector or --all")
		}
		return o.run(ctx)
	})
	return cmd
}

// diffReport is what `diff -o json` prints.
type diffReport struct {
	Devices []deviceDiff     `json:"devices"`
	Groups  []specdiff.Group `json:"groups"`
	// Missing are names that no device has.
	Missing []string `json:"missing,omitempty"`
}

// deviceDiff is what a resume would change on one device.
type deviceDiff struct {
	Name string `json:"name"`
	// Source is where the spec comes from: Fleet/NAME, or empty for the device's own.
	Source  string            `json:"source,omitempty"`
	Changes []specdiff.Change `json:"changes"`
}

func (o *diffOptions) run(ctx context.Context) error {
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	devices, err := store.Devices(ctx, o.selectors.query(orgID, o.names))
	if err != nil {
		return err
	}
	if len(o.names) == 0 {
		devices = slices.DeleteFunc(devices, func(d inventory.Resource) bool {
			return runbook.StateOf(d.Metadata.Annotations) != runbook.StateConflictPaused
		})
	}
	fleets, err := store.Fleets(ctx, inventory.Query{OrgID: orgID})
	if err != nil {
		return err
	}
	report := compare(devices, fleets)
	for _, name := range o.names {
		if !slices.ContainsFunc(devices, func(d inventory.Resource) bool { return d.Metadata.Name == name }) {
			report.Missing = append(report.Missing, name)
		}
	}
	if err := o.output.Print(o.io.Stdout, report, report.text); err != nil {
		return err
	}
	if len(report.Missing) > 0 {
		return fmt.Errorf("there is no device %s in organisation %s", strings.Join(report.Missing, ", "),
			runbook.OrgName(orgID))
	}
	if len(devices) == 0 {
		return &exitError{code: printer.ExitNothing}
	}
	return nil
}

// compare compares each device with its spec.
func compare(devices, fleets []inventory.Resource) diffReport {
	templates := map[string]json.RawMessage{}
	for _, fleet := range fleets {
		templates[inventory.KindFleet+"/"+fleet.Metadata.Name] = printer.ReadFleetSpec(fleet.Spec).Template.Spec
	}
	report, changes := diffReport{Devices: []deviceDiff{}}, map[string][]specdiff.Change{}
	for _, d := range devices {
		source, spec := "", d.Spec
		// A template with parameters says something else for each device. What Flight Control has made of it for this one is
		// the device's own spec.
		if template, ok := templates[d.Metadata.Owner]; ok && !bytes.Contains(template, []byte("{{")) {
			source, spec = d.Metadata.Owner, template
		}
		changes[d.Metadata.Name] = specdiff.Diff(spec, d.Status)
		report.Devices = append(report.Devices,
			deviceDiff{Name: d.Metadata.Name, Source: source, Changes: changes[d.Metadata.Name]})
	}
	report.Groups = specdiff.Collect(changes)
	return report
}

func (r diffReport) text(w io.Writer) error {
	if len(r.Devices) == 1 {
		return r.Devices[0].text(w)
	}
	for _, g := range r.Groups {
		names := g.Names
		if len(names) > namesShown {
			names = append(slices.Clone(names[:namesShown]), fmt.Sprintf("and %d more", len(g.Names)-namesShown))
		}
		fmt.Fprintf(w, "%s\n    %s\n", printer.OneLine(g.String()), printer.OneLine(strings.Join(names, ", ")))
	}
	if len(r.Devices) == 0 && len(r.Missing) == 0 {
		fmt.Fprintln(w, "no paused device matches")
	}
	return nil
}

// namesShown is how many names of a group are shown; -o json has all.
const namesShown = 5

func (d deviceDiff) text(w io.Writer) error {
	from := "its own spec"
	if d.Source != "" {
		from = "the template of " + d.Source
	}
	fmt.Fprintf(w, "device %s, by %s:\n", printer.OneLine(d.Name), printer.OneLine(from))
	for _, c := range d.Changes {
		fmt.Fprintf(w, "    %s\n", printer.OneLine(c.String()))
	}
	if len(d.Changes) == 0 {
		fmt.Fprintln(w, "    nothing that it reports would change")
	}
	return nil
}
