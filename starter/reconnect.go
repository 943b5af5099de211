package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

type reconnectOptions struct {
	*globals
	operator
	several
	version string
	timeout time.Duration
}

func newReconnectCommand(g *globals) *cobra.Command {
	o := &reconnectOptions{globals: g}
	cmd := &cobra.Command{
		Use: "reconnect (device NAME... | devices -l SELECTOR | devices --field-selector SELECTOR) --rendered-version " +
			"VERSION",
		Short: "Report on behalf of devices which version they run",
		Long: `Reports on behalf of a device which rendered version it runs. The report is recorded as yours and not as the
agent's. A version that is not newer than the restored one lets the device back to normal; a newer one pauses it for a
human. Prints which of the two came of it.

Exit code 1: the report was refused (a version that is none is sent as well,
so that the device's story tells of it), no roll
call waits for the device, or no worker answered in time. It may yet be carried out then; the same command with the same
--request-id gets its answer.

Several devices, by names or a selector, each get their own answer; those that neither wait nor are paused are left
alone. Exit code of several 0: all that matched were reported. 3: nothing matched, or no device waits. 4: some were
refused, or it is not known what became of the report. 6: it was interrupted, and of some it is not known,
or they were not asked.`,
		Example: `  starter reconnect device web-7 --rendered-version 7
  starter reconnect device/web-7 --rendered-version 7 --reason "read at its console"
  starter reconnect devices -l site=berlin --rendered-version 7 --dry-run`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
	}
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		one, err := o.several.complete(cmd, args)
		if err != nil {
			return err
		}
		if err := o.operator.complete(o.io, cmd); err != nil {
			return err
		}
		if o.version == "" {
			return usagef("--rendered-version is empty: give the version that the device runs, such as 7, or write 0 for a " +
				"device that runs none")
		}
		if one {
			return o.run(ctx, o.several.names[0])
		}
		if _, err := runbook.ParseVersion(o.version); err != nil {
			return usagef("--rendered-version: %w", err)
		}
		return o.tellSeveral(ctx, &o.several, o.bulk())
	})
	o.operator.bind(cmd)
	o.several.bind(cmd)
	cmd.Flags().StringVar(&o.version, "rendered-version", "",
		"rendered `version` that the device runs, such as 7 (0: none yet)")
	bindOutcomeTimeout(cmd, &o.timeout)
	// The flag exists, so marking it cannot fail.
	_ = cmd.MarkFlagRequired("rendered-version")
	return cmd
}

// bulk reports the version of one device or several.
func (o *reconnectOptions) bulk() bulk {
	version := strings.ToValidUTF8(o.version, "\uFFFD")
	return bulk{
		operator: &o.operator, update: runbook.UpdateReconnect, done: "reported", version: version,
		act: runbook.DecisionInput{Act: runbook.ActReconnect},
		message: func(decided ask.Decided, name string) any {
			return runbook.ReconnectRequest{
				RenderedVersion: version, By: decided.By, Reason: decided.Reason, Origin: decided.Origin(name),
			}
		},
		may: func(d inventory.DevicePosition, _ string) error {
			if d.Mode == runbook.ModeFlightctl {
				return runbook.NoHumanVersion(d.Name)
			}
			_, err := runbook.DecideReconnect(d.Restored, version)
			return err
		},
		flags: []string{"--rendered-version", version}, timeout: o.timeout,
	}
}

func (o *reconnectOptions) run(ctx context.Context, name string) error {
	orgID, a, err := o.tellOne(ctx, &o.several, o.bulk(), name)
	if err != nil {
		return err
	}
	if refusal := a.Refusal(); refusal != nil {
		return o.notDone(name, refusal)
	}
	return o.print(orgID, name, a)
}

// notDone is how the command ends where the report was not accepted. That a version is none is said even where no
// workflow has said so.
func (o *reconnectOptions) notDone(name string, r *runbook.Refusal) error {
	_, invalid := runbook.ParseVersion(o.version)
	if invalid == nil || r.Code == runbook.CodeInvalidVersion {
		return notDone(name, r)
	}
	return fmt.Errorf("device %q: %w; besides, %w", name, invalid, r)
}

func (o *reconnectOptions) print(orgID, name string, a runbook.DeviceAnswer) error {
	describe, name := ask.Describe(orgID, name), printer.OneLine(name)
	versions := printer.OneLine(
		fmt.Sprintf("reported version %s (restored %s)", runbook.OrZero(a.Reported), runbook.OrZero(a.Restored)))
	var err error
	switch a.State {
	case runbook.StateConflictPaused:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: ConflictPaused, %s; review it with\n  %s\n", name, versions, describe)
	case runbook.StateWithdrawn:
		_, err = fmt.Fprintf(o.io.Stdout,
			"device/%s: withdrawn from the roll call, because it was deleted or decommissioned\n", name)
	case runbook.StateNormal:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: back to normal, %s\n", name, versions)
	default:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: %s, %s\n", name, a.State, versions)
	}
	return err
}
