package demo

import (
	"context"
	"slices"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// NextCommands are the commands to try when the devices have reported: they show what is paused, and end the wait of
// one of each sort. self is how this program is called.
func (d *Demo) NextCommands(ctx context.Context, self string) ([]string, error) {
	commands := []string{self + " status", self + " get devices --field-selector=status.summary.status=ConflictPaused"}
	entries, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	for _, state := range []runbook.State{runbook.StateConflictPaused, runbook.StateAwaitingReconnect} {
		i := slices.IndexFunc(entries, func(e inventory.RollEntry) bool { return e.State == state })
		if i >= 0 {
			commands = append(commands, d.commandsFor(self, entries[i])...)
		}
	}
	return append(commands, self+` resume devices -l environment=staging --reason "staging is ours" --dry-run`), nil
}

// commandsFor are the commands that end the wait of a device.
func (d *Demo) commandsFor(self string, entry inventory.RollEntry) []string {
	if entry.State == runbook.StateConflictPaused {
		return []string{
			self + " describe device " + printer.Quote(entry.Name),
			self + " resume device " + printer.Quote(entry.Name) + " --expect-version " +
				printer.Quote(runbook.OrZero(entry.Reported)) + ` --reason "checked on site"`,
		}
	}
	if d.Beside { // Flight Control takes no version from a human
		return []string{self + " explain device " + printer.Quote(entry.Name)}
	}
	version := runbook.OrZero(entry.Restored)
	for _, r := range d.plan.Stragglers {
		if r.Device == entry.Name {
			version = r.RenderedVersion
		}
	}
	return []string{self + " reconnect device " + printer.Quote(entry.Name) +
		" --rendered-version " + printer.Quote(version)}
}
