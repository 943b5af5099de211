// Command starter is the operator's side of Rollcall: it puts a restored fleet on its roll, shows who waits, and
// carries a human's decisions to the workflows that wait for them.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"rollcall/internal/version"
	"rollcall/starter/printer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Execute(ctx, printer.SystemIO(), os.Args[1:])
	stop()
	os.Exit(code)
}

const rootLong = `Rollcall runs the roll call of a device fleet after its control plane was restored
	from a backup: every device waits
until it reports, goes back to normal or is held for a human, and you see and decide it all from here.

Connections: PostgreSQL through ROLLCALL_DATABASE_URL, Temporal through the variables and profiles of the temporal
command (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_PROFILE ...). In the folder of a running "starter dev" both are
found without them.`

const rootExample = `  starter restore --wait
  starter status
  starter get devices --field-selector=status.summary.status=ConflictPaused
  starter describe device web-7
  starter resume device web-7 --reason "checked on site"`

// Execute runs one command line, without the program's name, and returns the exit code of the process: 0 done, 1
// failed,
// 2 the command line cannot be understood; 3, 4 and 6 are those of commands for several devices. It never exits by
// itself.
func Execute(ctx context.Context, streams printer.IO, args []string) int {
	streams = streams.ForPeople()
	root := newRootCommand(streams)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return report(streams, cmd, args, err)
}

func newRootCommand(streams printer.IO) *cobra.Command {
	g := &globals{io: streams}
	root := &cobra.Command{
		Use:     "starter",
		Short:   "Roll call of a device fleet after its control plane was restored",
		Long:    rootLong,
		Example: rootExample,
		// Errors are printed once, by report, in one form.
		SilenceErrors: true,
		Version:       version.Get().String(),
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("rollcall {{.Version}}\n")
	root.SetIn(streams.Stdin)
	root.SetOut(streams.Stdout)
	root.SetErr(streams.Stderr)
	g.bind(root.PersistentFlags())
	root.AddCommand(
		newMigrateCommand(g),
		newImportCommand(g),
		newRestoreCommand(g),
		newStatusCommand(g),
		newCheckCommand(g),
		newGetCommand(g),
		newDescribeCommand(g),
		newExplainCommand(g),
		newDiffCommand(g),
		newReconnectCommand(g),
		newPlanCommand(g),
		newResumeCommand(g),
		newApproveCommand(g),
		newDenyCommand(g),
		newWithdrawCommand(g),
		newCancelCommand(g),
		newFsckCommand(g),
		newCertCommand(g),
		newSimulateCommand(g),
		newDevCommand(streams),
		newVersionCommand(g),
	)
	return root
}

func newVersionCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  starter version\n  starter version -o json",
		Args:    cobra.NoArgs,
	}
	output := printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
	cmd.RunE = run(func(context.Context, []string) error {
		info := version.Get()
		return output.Print(g.io.Stdout, info, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, "rollcall", info)
			return err
		})
	})
	return cmd
}
