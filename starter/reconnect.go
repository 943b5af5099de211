package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/runbook"
)

type reconnectOptions struct {
	*globals
	version string
	timeout time.Duration
}

func newReconnectCommand(g *globals) *cobra.Command {
	o := &reconnectOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "reconnect device NAME --rendered-version VERSION",
		Short: "Report on behalf of a device which version it runs",
		Long: `Reports on behalf of a device which rendered version it runs, as its agent does when it polls. A version that is not newer
than the restored one lets the device back to normal; a newer one pauses it for a human. Prints which of the two came of it.

Exit code 1: the report was refused (a version that is none is sent as well, so that the device's story tells of it), no roll
call waits for the device, or no worker answered in time, and then the report is kept for the workflow.`,
		Example: `  starter reconnect device web-7 --rendered-version 7
  starter reconnect device/web-7 --rendered-version 7`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
		RunE:              run(o.run),
	}
	cmd.Flags().StringVar(&o.version, "rendered-version", "", "rendered `version` that the device runs, such as 7 (0: none yet)")
	bindOutcomeTimeout(cmd, &o.timeout)
	// The flag exists, so marking it cannot fail.
	_ = cmd.MarkFlagRequired("rendered-version")
	return cmd
}

func (o *reconnectOptions) run(ctx context.Context, args []string) error {
	name, err := parseDevice(args)
	if err != nil {
		return err
	}
	if o.version == "" {
		return usagef("--rendered-version is empty: give the version that the device runs, such as 7, or write 0 for a device that runs none")
	}
	d, err := o.device(ctx, name)
	if err != nil {
		return err
	}
	defer d.close()
	version := strings.ToValidUTF8(o.version, "\uFFFD")
	a, err := d.tell(ctx, message{
		entry:   runbook.TimelineEntry{Message: runbook.SignalReconnect, Version: version},
		payload: runbook.ReconnectSignal{RenderedVersion: version},
	}, o.timeout)
	if err != nil || a == nil {
		return o.unanswered(d, version, err)
	}
	return o.print(d, a)
}

// unanswered is how the command ends where no workflow has answered: err says why, or nil that none did in time.
func (o *reconnectOptions) unanswered(d *namedDevice, version string, err error) error {
	_, invalid := runbook.ParseVersion(version)
	switch {
	case err != nil && invalid != nil:
		return fmt.Errorf("device %q: %w; besides, %v", d.name, invalid, err)
	case err != nil:
		return err
	case invalid != nil:
		return fmt.Errorf("device %q: %w (no workflow has answered; its refusal will be on the timeline: `%s`)", d.name, invalid, d.describe())
	}
	return fmt.Errorf("outcome unknown: the report is kept for the workflow of device %q, which reads it when a worker runs (is one running?) and the database is there; see `%s`", d.name, d.describe())
}

func (o *reconnectOptions) print(d *namedDevice, a *answer) error {
	if refusal := a.refusal(); refusal != nil {
		return d.refused(refusal)
	}
	name := oneLine(d.name)
	versions := oneLine(fmt.Sprintf("reported version %s (restored %s)", runbook.OrZero(a.reported), runbook.OrZero(a.restored)))
	var err error
	switch a.entry.To {
	case runbook.StateConflictPaused:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: ConflictPaused, %s; review it with\n  %s\n", name, versions, d.describe())
	case runbook.StateWithdrawn:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: withdrawn from the roll call, because it was deleted or decommissioned\n", name)
	case runbook.StateNormal:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: back to normal, %s\n", name, versions)
	default:
		_, err = fmt.Fprintf(o.io.Stdout, "device/%s: %s, %s\n", name, a.entry.To, versions)
	}
	return err
}
