// Package report is what the benches print: figures beside the floor and their targets, as a table or as JSON.
package report

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// The values of --output.
const (
	OutputTable = "table"
	OutputJSON  = "json"
)

// Report is what one bench has measured.
type Report struct {
	Bench   string    `json:"bench"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	CPUs    int       `json:"cpus"`
	// Parameters are the flags that matter for the figures.
	Parameters map[string]any `json:"parameters"`
	Figures    []Figure       `json:"figures"`
}

// Figure is one measured value.
type Figure struct {
	// Name says what was measured, as in "T2 at 16 connections".
	Name string `json:"name"`
	// Devices is the size at which it was measured; 0 where there is none.
	Devices int     `json:"devices,omitempty"`
	Value   float64 `json:"value"`
	// Unit is that of Value, of Floor and of the target, as in "devices/s", "s", "MiB".
	Unit string `json:"unit"`
	// Floor is the same measured for the floor, in the same run; 0 where there is none.
	Floor float64 `json:"floor,omitempty"`
	// Target is what the value must reach; nil where nothing is asked.
	Target *Target `json:"target,omitempty"`
	// Met reports whether the target was reached; nil without one.
	Met *bool `json:"met,omitempty"`
}

// Target is a bound: on the value, or where OfFloor is set on the value divided by the floor.
type Target struct {
	AtLeast *float64 `json:"atLeast,omitempty"`
	AtMost  *float64 `json:"atMost,omitempty"`
	OfFloor bool     `json:"ofFloor,omitempty"`
}

// AtLeast asks for a value of v or more.
func AtLeast(v float64) *Target { return &Target{AtLeast: &v} }

// AtMost asks for a value of v or less.
func AtMost(v float64) *Target { return &Target{AtMost: &v} }

// AtLeastOfFloor asks for v times the floor or more.
func AtLeastOfFloor(v float64) *Target { return &Target{AtLeast: &v, OfFloor: true} }

// AtMostOfFloor asks for v times the floor or less.
func AtMostOfFloor(v float64) *Target { return &Target{AtMost: &v, OfFloor: true} }

func (t Target) String() string {
	var text string
	switch {
	case t.AtLeast != nil:
		text = fmt.Sprintf("≥ %g", *t.AtLeast)
	default:
		text = fmt.Sprintf("≤ %g", *t.AtMost)
	}
	if t.OfFloor {
		text += " of the floor"
	}
	return text
}

// New returns a report without figures.
func New(bench string, parameters map[string]any) *Report {
	return &Report{Bench: bench, Started: time.Now().UTC(), CPUs: runtime.NumCPU(), Parameters: parameters}
}

// Add appends a figure, and judges it where it has a target.
func (r *Report) Add(f Figure) {
	if f.Target != nil {
		value := f.Value
		if f.Target.OfFloor {
			value = f.ratio()
		}
		met := (f.Target.AtLeast == nil || value >= *f.Target.AtLeast) &&
			(f.Target.AtMost == nil || value <= *f.Target.AtMost)
		f.Met = &met
	}
	r.Figures = append(r.Figures, f)
}

// ratio is the value divided by the floor; 0 without one.
func (f Figure) ratio() float64 {
	if f.Floor == 0 {
		return 0
	}
	return f.Value / f.Floor
}

// Command runs a command that measures, and prints its report.
func Command(run func(ctx context.Context, stderr io.Writer) (*Report, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		r, err := run(cmd.Context(), cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		r.Version = cmd.Root().Version
		return r.print(cmd)
	}
}

// CheckParts says which of only, the values of --only, is none of parts.
func CheckParts(only, parts []string) error {
	for _, part := range only {
		if !slices.Contains(parts, part) {
			return fmt.Errorf("unknown part %q: use one of %s", part, strings.Join(parts, ", "))
		}
	}
	return nil
}

// print writes the report as --output says.
func (r *Report) print(cmd *cobra.Command) error { return PrintAs(cmd, r, r.table) }

// PrintAs writes v as --output says: as JSON, or as table writes it.
func PrintAs(cmd *cobra.Command, v any, table func(io.Writer) error) error {
	output, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	switch output {
	case OutputTable:
		return table(cmd.OutOrStdout())
	case OutputJSON:
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return fmt.Errorf("unknown output format %q: use one of %s, %s", output, OutputTable, OutputJSON)
}

func (r *Report) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t\n", strings.ToUpper(r.Bench))
	fmt.Fprintln(w, "MEASURED\tDEVICES\tOURS\tFLOOR\tRATIO\tUNIT\tTARGET\tMET")
	for _, f := range r.Figures {
		row := []string{f.Name, "", Number(f.Value), "", "", f.Unit, "", ""}
		if f.Devices > 0 {
			row[1] = fmt.Sprint(f.Devices)
		}
		if f.Floor != 0 {
			row[3], row[4] = Number(f.Floor), fmt.Sprintf("%.2f", f.ratio())
		}
		if f.Target != nil {
			row[6], row[7] = f.Target.String(), map[bool]string{true: "yes", false: "NO"}[*f.Met]
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// Number writes a value with as many digits as a reader can use.
func Number(v float64) string {
	switch {
	case v == 0 || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
