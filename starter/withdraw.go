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
	if err := o.precheck(ctx, d); err != nil {
		return err
	}
	before, err := d.transitions(ctx)
	if err != nil {
		return err
	}
	message := runbook.WithdrawSignal{By: o.as, Reason: o.reason, Force: o.force}
	if err := d.signal(ctx, runbook.SignalWithdraw, message); err != nil {
		return err
	}
	return o.outcome(ctx, d, len(before))
}

// precheck says at once what the workflow would refuse; the workflow decides.
func (o *withdrawOptions) precheck(ctx context.Context, d *namedDevice) error {
	found, err := d.store.Devices(ctx, inventory.Query{OrgID: d.orgID, Names: []string{d.name}})
	if err != nil {
		return fmt.Errorf("read device %q: %w", d.name, err)
	}
	exists := len(found) > 0
	var lifecycle string
	if exists {
		lifecycle = readDeviceStatus(found[0].Status).Lifecycle.Status
	}
	if err := runbook.MayWithdraw(exists, false, lifecycle, o.force); err != nil {
		return fmt.Errorf("device %q: %w", d.name, err)
	}
	return nil
}

// outcome waits until the audit tells what became of the withdrawal. seen is the number of entries before it was sent.
func (o *withdrawOptions) outcome(ctx context.Context, d *namedDevice, seen int) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for {
		rows, err := d.transitions(ctx)
		if err == nil {
			for _, r := range rows[min(seen, len(rows)):] {
				if done, err := o.judge(d.name, r); done {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("outcome unknown: device %q was told, and will be withdrawn when a worker reads it (is one running?); see `%s`",
				d.name, command(d.orgID, "describe", "device", d.name))
		case <-time.After(watchInterval):
		}
	}
}

// judge tells whether an entry of the audit answers the withdrawal, and how.
func (o *withdrawOptions) judge(name string, r inventory.TransitionRow) (done bool, err error) {
	switch {
	case r.Transition == runbook.T5:
		_, err := fmt.Fprintf(o.io.Stdout, "device/%s: withdrawn\n", oneLine(name))
		return true, err
	case r.Transition == runbook.Refused && r.Actor == o.as:
		return true, fmt.Errorf("device %q: %w", name, runbook.Refuse(r.Code, "%s", r.Message))
	case r.To != "" && !r.To.Open():
		return true, fmt.Errorf("device %q: %w", name, runbook.Refuse(runbook.CodeNotWaiting, "it was %s before the withdrawal was read", r.To))
	}
	return false, nil
}

// transitions is the whole audit of the device.
func (d *namedDevice) transitions(ctx context.Context) ([]inventory.TransitionRow, error) {
	rows, err := d.store.Transitions(ctx, d.orgID, d.name, 0)
	if err != nil {
		return nil, fmt.Errorf("read the audit of device %q: %w", d.name, err)
	}
	return rows, nil
}
