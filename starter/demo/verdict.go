package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// verdict holds the end of a restore against the fleet: the restore has completed, its tally adds up and is the
// workflow's result, there are as many devices on the roll as were eligible, and each of these has left it by a
// transition that the audit holds.
func (d *Demo) verdict(ctx context.Context, result runbook.RestoreStatus) error {
	tally, err := d.Store.RestoreStatus(ctx, d.restore.ID)
	if err != nil {
		return fmt.Errorf("read the tally of restore %s: %w", d.restore.ID, err)
	}
	var errs []error
	complain := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	complain(tally.State != runbook.RestoreCompleted, "restore %s is %s, not %s", tally.RestoreID, tally.State,
		runbook.RestoreCompleted)
	complain(!tally.AddsUp(), "the tally does not add up to %s: %v", printer.Count(tally.Total, "device"), tally.Counts)
	complain(tally.Waiting() != 0, "%s still wait", printer.Count(tally.Waiting(), "device"))
	complain(tally.Total != int64(len(d.Eligible)), "%s on the roll, but %d were eligible",
		printer.Count(tally.Total, "device"), len(d.Eligible))
	complain(result.Total != tally.Total || !maps.Equal(result.Counts, tally.Counts),
		"the workflow's result %v is not the database's tally %v", result.Counts, tally.Counts)
	for _, name := range d.Eligible {
		errs = append(errs, d.accountFor(ctx, name))
	}
	return errors.Join(errs...)
}

// accountFor looks for the device's way through this restore in the audit: onto the roll by T1, and off it by T2, T4 or
// T5.
func (d *Demo) accountFor(ctx context.Context, name string) error {
	story, err := d.story(ctx, name)
	if err != nil {
		return err
	}
	var on, off bool
	for _, row := range story {
		switch row.Transition {
		case runbook.T1:
			on = true
		case runbook.T2, runbook.T4, runbook.T5:
			off = true
		}
	}
	switch {
	case !on:
		return fmt.Errorf("device %q is unaccounted for: it was eligible, but was not put on the roll", name)
	case !off:
		return fmt.Errorf("device %q is unaccounted for: it has not left the roll%s", name, lastRefusal(story))
	}
	return nil
}

// unaccounted names the devices that still hold the restore open, and why each does.
func (d *Demo) unaccounted(ctx context.Context) error {
	entries, err := d.open(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		story, err := d.story(ctx, entry.Name)
		errs = append(errs, err,
			fmt.Errorf("device %q is unaccounted for: it is %s%s", entry.Name, entry.State, lastRefusal(story)))
	}
	return errors.Join(errs...)
}

// story is what the audit holds of a device in this restore.
func (d *Demo) story(ctx context.Context, name string) ([]inventory.TransitionRow, error) {
	rows, err := d.Store.Transitions(ctx, runbook.DefaultOrgID, name, 0)
	if err != nil {
		return nil, err
	}
	var story []inventory.TransitionRow
	for _, row := range rows {
		if row.RestoreID == d.restore.ID {
			story = append(story, row)
		}
	}
	return story, nil
}

func lastRefusal(story []inventory.TransitionRow) string {
	for i := len(story) - 1; i >= 0; i-- {
		if row := story[i]; row.Transition == runbook.Refused {
			return fmt.Sprintf("; what it sent last was refused: %s", row.Message)
		}
	}
	return ""
}
