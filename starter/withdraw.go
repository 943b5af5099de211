package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

type withdrawOptions struct {
	*globals
	operator
	several
	force bool
	// decommission is the target with which Flight Control decommissions the device first; empty is not to.
	decommission string
	timeout      time.Duration
}

func newWithdrawCommand(g *globals) *cobra.Command {
	o := &withdrawOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "withdraw (device NAME... | devices -l SELECTOR | devices --field-selector SELECTOR)",
		Short: "Take devices that were deleted or decommissioned off the roll",
		Long: `Takes a device that was deleted or decommissioned off the roll, so that the roll call waits for it no longer.
It is counted as Withdrawn, never as back. A device that the inventory still manages is refused,
unless --force says that it will never
come back.

Several devices, by names or a selector, each get their own answer; those that neither wait nor are paused are left
alone.

Exit code of several 0: all that matched were withdrawn. 3: nothing matched, or no device waits. 4: some were refused,
or it is not known whether they were withdrawn. 6: it was interrupted, and of some it is not known,
or they were not asked.`,
		Example: `  starter withdraw device web-7 --reason "scrapped"
  starter withdraw device/web-7 --force --reason "lost at sea"
  starter withdraw devices -l site=closed --force --reason "the site was closed" --dry-run
  starter withdraw device/web-7 --decommission Unenroll --reason "scrapped"`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "withdraw it although the inventory still manages it")
	cmd.Flags().StringVar(&o.decommission, "decommission", "",
		"beside Flight Control: have it decommission the device first, with the `target` Unenroll or FactoryReset")
	bindOutcomeTimeout(cmd, &o.timeout)
	o.operator.bind(cmd)
	o.several.bind(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		one, err := o.several.complete(cmd, args)
		if err != nil {
			return err
		}
		if err := o.operator.complete(o.io, cmd); err != nil {
			return err
		}
		if err := (runbook.WithdrawSignal{Decommission: o.decommission}).Check(); err != nil {
			return usagef("--decommission: %w", err)
		}
		if one {
			return o.run(ctx, o.several.names[0])
		}
		return o.tellSeveral(ctx, &o.several, o.bulk())
	})
	return cmd
}

// bulk withdraws one device or several.
func (o *withdrawOptions) bulk() bulk {
	var flags []string
	if o.force {
		flags = append(flags, "--force")
	}
	if o.decommission != "" {
		flags = append(flags, "--decommission", o.decommission)
	}
	return bulk{
		operator: &o.operator, update: runbook.UpdateWithdraw, done: "withdrawn",
		act: runbook.DecisionInput{
			Act:     runbook.ActWithdraw,
			Details: runbook.WithdrawSignal{Force: o.force, Decommission: o.decommission}.Details(),
		},
		message: func(decided ask.Decided, name string) any {
			return runbook.WithdrawRequest{
				By: decided.By, Reason: decided.Reason, Force: o.force, Decommission: o.decommission,
				Origin: decided.Origin(name),
			}
		},
		may: func(_ inventory.DevicePosition, lifecycle string) error {
			return runbook.MayWithdraw(true, false, lifecycle, o.force || o.decommission != "")
		},
		flags: flags, timeout: o.timeout,
	}
}

func (o *withdrawOptions) run(ctx context.Context, name string) error {
	orgID, a, err := o.tellOne(ctx, &o.several, o.bulk(), name)
	if err != nil {
		return err
	}
	switch refusal := a.Refusal(); {
	case refusal == nil:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: withdrawn\n", printer.OneLine(name))
		return err
	case refusal.Code == runbook.CodeOutcomeUnknown:
		return o.unanswered(ctx, orgID, name, refusal)
	default:
		return notDone(name, refusal)
	}
}

// unanswered is how the command ends where no worker answered in time. What the database says already is said as well.
func (o *withdrawOptions) unanswered(ctx context.Context, orgID, name string, r *runbook.Refusal) error {
	store, err := o.openStore(ctx)
	if err != nil {
		return r
	}
	defer store.Close()
	found, err := store.Devices(ctx, inventory.Query{OrgID: orgID, Names: []string{name}})
	if err != nil {
		return errors.Join(r, fmt.Errorf("read device %q: %w", name, err))
	}
	var lifecycle string
	if len(found) > 0 {
		lifecycle = printer.ReadDeviceStatus(found[0].Status).Lifecycle.Status
	}
	if err := runbook.MayWithdraw(len(found) > 0, false, lifecycle, o.force); err != nil {
		return fmt.Errorf("%w; as it stands it will be refused: %w", r, err)
	}
	return r
}
