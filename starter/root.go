package main

import (
	"context"

	"github.com/spf13/cobra"
)

const rootLong = `Rollcall runs the roll call of a device fleet after its control plane was restored from a backup: every device waits
until it reports, goes back to normal or is held for a human, and you see and decide it all from here.

Connections: PostgreSQL through ROLLCALL_DATABASE_URL, Temporal through the variables and profiles of the temporal
command (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_PROFILE ...). In the folder of a running "starter dev" both are
found without them.`

const rootExample = `  starter restore --wait
  starter status
  starter get devices --field-selector=status.summary.status=ConflictPaused
  starter describe device web-7
  starter resume device web-7 --reason "checked on site"`

// Execute runs one command line, without the program's name, and returns the exit code of the process: 0 done, 1 failed,
// 2 the command line cannot be understood; 3 and 4 are those of `resume`, `approve` and `deny`. It never exits by itself.
func Execute(ctx context.Context, streams IO, args []string) int {
	root := newRootCommand(streams)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return report(streams, cmd, err)
}

func newRootCommand(streams IO) *cobra.Command {
	g := &globals{io: streams}
	root := &cobra.Command{
		Use:     "starter",
		Short:   "Roll call of a device fleet after its control plane was restored",
		Long:    rootLong,
		Example: rootExample,
		// Errors are printed once, by report, in one form.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(streams.Stdin)
	root.SetOut(streams.Stdout)
	root.SetErr(streams.Stderr)
	g.bind(root.PersistentFlags())
	root.AddCommand(
		newMigrateCommand(g),
		newImportCommand(g),
		newRestoreCommand(g),
		newStatusCommand(g),
		newGetCommand(g),
		newDescribeCommand(g),
		newReconnectCommand(g),
		newResumeCommand(g),
		newApproveCommand(g),
		newDenyCommand(g),
		newWithdrawCommand(g),
		newCancelCommand(g),
		newCertCommand(g),
		newSimulateCommand(g),
		newDevCommand(streams),
		newVersionCommand(g),
	)
	return root
}
