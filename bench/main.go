// Bench measures what a restore costs, side by side with the floor: the least that Temporal and PostgreSQL themselves
// cost for the same shape of work, on the same servers, in the same run. It is a module of its own, so that what it
// needs stays out of Rollcall.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"rollcall/internal/version"

	"rollcall/bench/inventorybench"
	"rollcall/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	var planned int
	root := &cobra.Command{
		Use:           "bench",
		Short:         "Measure what a restore costs against what Temporal and PostgreSQL themselves cost",
		Version:       version.Get().Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("plan") {
				return cmd.Help()
			}
			return printPlan(cmd, planned, defaultRates)
		},
	}
	root.Flags().IntVar(&planned, "plan", 0,
		"the same as bench plan, at the rates of this project's own measurements, for so many `devices`")
	root.PersistentFlags().StringP("output", "o", report.OutputTable, "output format: table or json")
	root.AddCommand(commands()...)
	return root
}

// commands are the benches, one for each file that measures something.
func commands() []*cobra.Command {
	return []*cobra.Command{
		newRollcallCommand(), inventorybench.NewCommand(), newAgentsCommand(), newDemoCommand(), newPlanCommand(),
		newWorkerCommand(), newGatewayCommand(),
		newFleetCommand(),
	}
}
