package printer

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"rollcall/simulator"
)

// simulation shows how the agents do, on stderr: as a bar where a person watches, else in lines.
type simulation struct {
	io    IO
	bar   *progressbar.ProgressBar
	total int64
	line  string
	at    time.Time
	Last  simulator.Summary
}

// NewSimulation says which agents there are, and shows how they do from then on.
func NewSimulation(streams IO, fleet *simulator.Fleet) *simulation {
	s := fleet.Summary()
	v := &simulation{io: streams, total: int64(s.Agents - s.Fates[simulator.NeverBack]), Last: s}
	fmt.Fprintf(streams.Stderr, "%s of %s (seed %d); Ctrl-C ends them\n", Count(s.Agents, "agent"), s.Gateway, s.Seed)
	if streams.IsTerminal(streams.Stderr) {
		v.bar = NewBar(streams, v.total)
	}
	return v
}

// Show brings the view up to date.
func (v *simulation) Show(s simulator.Summary) {
	if s.States[simulator.StateEnded] > 0 {
		return
	}
	v.Last = s
	line := fmt.Sprintf("%d applied, %d refused, %d retries, %d errors; %s", s.Applied, s.Refused, s.Retries, s.Errors,
		statesLine(s))
	switch now := v.io.Now(); {
	case v.bar != nil:
		v.bar.Describe(line)
		// A bar that cannot be drawn is no reason to stop.
		_ = v.bar.Set64(s.Back)
	case line != v.line && now.Sub(v.at) >= LineInterval:
		fmt.Fprintf(v.io.Stderr, "%s %d of %d back: %s\n", now.Local().Format(time.TimeOnly), s.Back, v.total, line)
		v.line, v.at = line, now
	}
}

// Close leaves the bar on a line of its own.
func (v *simulation) Close() {
	if v.bar != nil {
		_ = v.bar.Exit()
		fmt.Fprintln(v.io.Stderr)
	}
}

// statesLine says how many agents do what.
func statesLine(s simulator.Summary) string {
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(s.States)) {
		parts = append(parts, fmt.Sprintf("%d %s", s.States[state], state))
	}
	return strings.Join(parts, ", ")
}

// PrintSimulation writes what the agents did, for people.
func PrintSimulation(w io.Writer, s simulator.Summary) error {
	fates := make([]string, 0, len(s.Fates))
	for _, fate := range slices.Sorted(maps.Keys(s.Fates)) {
		fates = append(fates, fmt.Sprintf("%d %s", s.Fates[fate], fate))
	}
	rows := [][]string{
		{"fates", strings.Join(fates, ", ")},
		{"back", fmt.Sprintf("%d, of which at the end %s", s.Back, statesLine(s))},
		{"polls", fmt.Sprintf("%d, of which %d brought a newer version and %d nothing", s.Polls, s.Served, s.Nothing)},
		{"reports", fmt.Sprintf("%d statuses taken, %d requests refused, %d told that they are paused", s.Reports, s.Refused,
			s.Conflicts)},
		{"versions", fmt.Sprintf("%d applied, %d failed", s.Applied, s.Failed)},
		{"enrollment", fmt.Sprintf("%d certificates thrown away, %d agents let in", s.Wiped, s.Enrolled)},
		{"connections", fmt.Sprintf("%d lost, %d reboots, %d retries, %d errors", s.Outages, s.Reboots, s.Retries, s.Errors)},
	}
	if s.LastError != "" {
		rows = append(rows, []string{"last error", s.LastError})
	}
	return Table(w, []string{"AGENTS", fmt.Sprintf("%d for %.0f s, seed %d", s.Agents, s.Seconds, s.Seed)}, rows)
}
