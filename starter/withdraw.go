package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
)

type withdrawOptions struct {
	*globals
	operator
	force   bool
	timeout time.Duration
}

func newWithdrawCommand(g *globals) *cobra.Command {
	o := &withdrawOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "withdraw device NAME",
		Short: "Take a device that was deleted or decommissioned off the roll",
		Long: `Takes a device that was deleted or decommissioned off the roll, so that the roll call waits for it no longer. It is counted as
Withdrawn, never as back. A device that the inventory still manages is refused, unless --force says that it will never
come back.`,
		Example: `  starter withdraw device web-7 --reason "scrapped"
  starter withdraw device/web-7 --force --reason "lost at sea"`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "withdraw it although the inventory still manages it")
	bindOutcomeTimeout(cmd, &o.timeout)
	o.operator.bind(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		name, err := parseDevice(args)
		if err != nil {
			return err
		}
		if err := o.operator.complete(o.io, cmd); err != nil {
			return err
		}
		return o.run(ctx, name)
	})
	return cmd
}

func (o *withdrawOptions) run(ctx context.Context, name string) error {
	d, err := o.device(ctx, name)
	if err != nil {
		return err
	}
	defer d.close()
	a, err := d.tell(ctx, message{
		entry:   runbook.TimelineEntry{Message: runbook.SignalWithdraw, By: o.as, Reason: o.reason},
		payload: runbook.WithdrawSignal{By: o.as, Reason: o.reason, Force: o.force},
	}, o.timeout)
	switch {
	case err != nil:
		return err
	case a == nil:
		return o.unanswered(ctx, d)
	}
	return o.print(d, a)
}

// unanswered is how the command ends where no worker answered in time. What the database says already is said as well.
func (o *withdrawOptions) unanswered(ctx context.Context, d *namedDevice) error {
	const unknown = "outcome unknown: device %q was told, and its workflow decides when a worker reads it (is one running?); see `%s`"
	if err := o.foresee(ctx, d); err != nil {
		return fmt.Errorf(unknown+"; as it stands it will be refused: %w", d.name, d.describe(), err)
	}
	return fmt.Errorf(unknown, d.name, d.describe())
}

// foresee says what the workflow would refuse; the workflow decides.
func (o *withdrawOptions) foresee(ctx context.Context, d *namedDevice) error {
	found, err := d.store.Devices(ctx, inventory.Query{OrgID: d.orgID, Names: []string{d.name}})
	if err != nil {
		return fmt.Errorf("read device %q: %w", d.name, err)
	}
	exists := len(found) > 0
	var lifecycle string
	if exists {
		lifecycle = readDeviceStatus(found[0].Status).Lifecycle.Status
	}
	return runbook.MayWithdraw(exists, false, lifecycle, o.force)
}

func (o *withdrawOptions) print(d *namedDevice, a *answer) error {
	if refusal := a.refusal(); refusal != nil {
		return d.refused(refusal)
	}
	if a.entry.To != runbook.StateWithdrawn {
		return d.refused(runbook.Refuse(runbook.CodeNotWaiting, "it was %s before the withdrawal was read", a.entry.To))
	}
	_, err := fmt.Fprintf(o.io.Stdout, "device/%s: withdrawn\n", oneLine(d.name))
	return err
}
