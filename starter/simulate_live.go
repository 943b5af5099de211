package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/simulator"
)

// answeredEvery is how often the database is asked whether all devices have been answered.
const answeredEvery = time.Second

// errAnswered and errTimeIsUp are how a simulation ends that has reached its end.
var (
	errAnswered = errors.New("every device that came back was answered")
	errTimeIsUp = errors.New("the time is up")
)

// live runs the agents to their end, which Ctrl-C is, too, and prints what they did.
func (o *simulateOptions) live(ctx context.Context, store *inventory.Store, orgID string, fleet *simulator.Fleet) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.lasts > 0 {
		timer := time.AfterFunc(o.lasts, func() { cancel(errTimeIsUp) })
		defer timer.Stop()
	}
	ended := make(chan simulator.Summary, 1)
	go func() { ended <- fleet.Run(ctx) }()
	tick := time.NewTicker(answeredEvery)
	defer tick.Stop()
	view := newSimulation(o.io, fleet)
	for {
		select {
		case s := <-ended:
			view.close()
			// How the agents stood while they lived says more than that they have ended.
			s.States = view.last.States
			return o.output.print(o.io.Stdout, s, func(w io.Writer) error { return printSimulation(w, s) })
		case <-tick.C:
		}
		view.show(fleet.Summary())
		if o.untilAnswered && ctx.Err() == nil {
			answered, err := allAnswered(ctx, store, orgID, fleet)
			if err != nil {
				fmt.Fprintf(o.io.Stderr, "warning: %v\n", err) // a database that is away for a moment ends no agent
			}
			if answered {
				cancel(errAnswered)
			}
		}
	}
}

// allAnswered tells whether all agents are back, and none of their devices awaits its reconnect. Those that ask to be let
// in wait for a human.
func allAnswered(ctx context.Context, store *inventory.Store, orgID string, fleet *simulator.Fleet) (bool, error) {
	s := fleet.Summary()
	if s.Back < int64(s.Agents-s.Fates[simulator.NeverBack]-s.Fates[simulator.Straggler]) {
		return false, nil
	}
	waiting, err := inventory.ParseFieldSelector("devices", "status.summary.status="+string(runbook.StateAwaitingReconnect))
	if err != nil {
		return false, err
	}
	standing, err := store.Standing(ctx, inventory.Query{OrgID: orgID, Fields: waiting})
	if err != nil {
		return false, err
	}
	waits := make(map[string]bool, len(standing))
	for _, d := range standing {
		waits[d.Name] = true
	}
	for _, p := range fleet.Plans() {
		if waits[p.Name] && p.Fate != simulator.NeverBack && p.Fate != simulator.Straggler {
			return false, nil
		}
	}
	return true, nil
}

// simulation shows how the agents do, on stderr: as a bar where a person watches, else in lines.
type simulation struct {
	io    IO
	bar   *progressbar.ProgressBar
	total int64
	line  string
	at    time.Time
	last  simulator.Summary
}

func newSimulation(streams IO, fleet *simulator.Fleet) *simulation {
	s := fleet.Summary()
	v := &simulation{io: streams, total: int64(s.Agents - s.Fates[simulator.NeverBack]), last: s}
	fmt.Fprintf(streams.Stderr, "%s of %s (seed %d); Ctrl-C ends them\n", count(s.Agents, "agent"), s.Gateway, s.Seed)
	if streams.IsTerminal(streams.Stderr) {
		v.bar = newBar(streams, v.total)
	}
	return v
}

func (v *simulation) show(s simulator.Summary) {
	if s.States[simulator.StateEnded] > 0 {
		return
	}
	v.last = s
	line := fmt.Sprintf("%d applied, %d refused, %d retries, %d errors; %s", s.Applied, s.Refused, s.Retries, s.Errors, statesLine(s))
	switch now := v.io.Now(); {
	case v.bar != nil:
		v.bar.Describe(line)
		// A bar that cannot be drawn is no reason to stop.
		_ = v.bar.Set64(s.Back)
	case line != v.line && now.Sub(v.at) >= lineInterval:
		fmt.Fprintf(v.io.Stderr, "%s %d of %d back: %s\n", now.Local().Format(time.TimeOnly), s.Back, v.total, line)
		v.line, v.at = line, now
	}
}

func (v *simulation) close() {
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

// printSimulation writes what the agents did, for people.
func printSimulation(w io.Writer, s simulator.Summary) error {
	fates := make([]string, 0, len(s.Fates))
	for _, fate := range slices.Sorted(maps.Keys(s.Fates)) {
		fates = append(fates, fmt.Sprintf("%d %s", s.Fates[fate], fate))
	}
	rows := [][]string{
		{"fates", strings.Join(fates, ", ")},
		{"back", fmt.Sprintf("%d, of which at the end %s", s.Back, statesLine(s))},
		{"polls", fmt.Sprintf("%d, of which %d brought a newer version and %d nothing", s.Polls, s.Served, s.Nothing)},
		{"reports", fmt.Sprintf("%d statuses taken, %d requests refused, %d told that they are paused", s.Reports, s.Refused, s.Conflicts)},
		{"versions", fmt.Sprintf("%d applied, %d failed", s.Applied, s.Failed)},
		{"enrollment", fmt.Sprintf("%d certificates thrown away, %d agents let in", s.Wiped, s.Enrolled)},
		{"connections", fmt.Sprintf("%d lost, %d reboots, %d retries, %d errors", s.Outages, s.Reboots, s.Retries, s.Errors)},
	}
	if s.LastError != "" {
		rows = append(rows, []string{"last error", s.LastError})
	}
	return table(w, []string{"AGENTS", fmt.Sprintf("%d for %.0f s, seed %d", s.Agents, s.Seconds, s.Seed)}, rows)
}
