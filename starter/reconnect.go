package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"rollcall/runbook"
)

type reconnectOptions struct {
	*globals
	version string
}

func newReconnectCommand(g *globals) *cobra.Command {
	o := &reconnectOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "reconnect device NAME --rendered-version VERSION",
		Short: "Report on behalf of a device which version it runs",
		Long: `Reports on behalf of a device which rendered version it runs, as its agent does when it polls. A version that is not newer
than the restored one lets the device back to normal; a newer one pauses it for a human.`,
		Example: `  starter reconnect device web-7 --rendered-version 7
  starter reconnect device/web-7 --rendered-version 7`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
		RunE:              run(o.run),
	}
	cmd.Flags().StringVar(&o.version, "rendered-version", "", "rendered `version` that the device runs, such as 7 (0: none yet)")
	// The flag exists, so marking it cannot fail.
	_ = cmd.MarkFlagRequired("rendered-version")
	return cmd
}

func (o *reconnectOptions) run(ctx context.Context, args []string) error {
	name, err := parseDevice(args)
	if err != nil {
		return err
	}
	version, err := runbook.ParseVersion(o.version)
	if err != nil {
		return fmt.Errorf("device %q was not told anything: %w", name, err)
	}
	device, err := o.device(ctx, name)
	if err != nil {
		return err
	}
	defer device.close()
	if err := device.signal(ctx, runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: version.String()}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.io.Stdout, "device/%s: reported version %s; see what it did with\n  %s\n",
		name, version, command(device.orgID, "describe", "device", name))
	return err
}
