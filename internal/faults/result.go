package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rollcall/internal/invariants"
)

// Result is what a run has found.
type Result struct {
	Seed  uint64
	Calls []Call
	// Illegal are the calls of each device that the model does not allow in any order.
	Illegal [][]Call
	// Undecided are the calls of each device for which the search for an order did not end in time. The audit of these
	// devices is checked as that of all others is, so they are no failure of the run.
	Undecided  [][]Call
	Violations []invariants.Violation
	// Broken counts what was broken on purpose, by what it was: a process killed at a point, a disk that was full.
	// LeftOut says what was to be broken and could not.
	Broken  map[string]int
	LeftOut []string
	// Failures are answers that no caller may get.
	Failures []error
	Timeline []string
}

// Bad reports whether anything is wrong.
func (r Result) Bad() bool { return len(r.Illegal)+len(r.Violations)+len(r.Failures) > 0 }

// Summary counts the calls by what they asked for and what was answered, and what was broken.
func (r Result) Summary() string {
	counts := map[string]int{}
	for _, c := range r.Calls {
		counts[fmt.Sprintf("%s %s %s", c.Via, c.Kind, c.Answer)]++
	}
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %d calls", r.Seed, len(r.Calls))
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, ", %s %d", what, counts[what])
	}
	for i, what := range slices.Sorted(maps.Keys(r.Broken)) {
		fmt.Fprintf(&text, "%s %s %d", []string{"; broken:", ","}[min(i, 1)], what, r.Broken[what])
	}
	for _, what := range r.LeftOut {
		fmt.Fprintf(&text, "; left out: %s", what)
	}
	if n := len(r.Undecided); n > 0 {
		fmt.Fprintf(&text, "; the order of calls was not decided in time for %d device(s)", n)
	}
	return text.String()
}

// String is the seed, what is wrong, and the timeline.
func (r Result) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %d calls\n", r.Seed, len(r.Calls))
	for _, calls := range r.Illegal {
		fmt.Fprintln(&text, "no order of these calls is allowed:")
		for _, c := range calls {
			fmt.Fprintf(&text, "  %s – %s  %s\n", c.Start.Format("05.000"), c.End.Format("05.000"), c)
		}
	}
	for _, calls := range r.Undecided {
		fmt.Fprintf(&text, "not decided in time: the order of %d calls of %.4s/%s\n",
			len(calls), calls[0].OrgID, calls[0].Device)
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&text, "%s: %s %s %s: %s\n", v.Invariant, v.RestoreID, v.OrgID, v.Name, v.Message)
	}
	for _, err := range r.Failures {
		fmt.Fprintln(&text, err)
	}
	for _, line := range r.Timeline {
		fmt.Fprintln(&text, line)
	}
	return text.String()
}
