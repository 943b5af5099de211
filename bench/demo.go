package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"rollcall/bench/process"
	"rollcall/bench/report"
)

// demoOptions are the flags of `bench demo`.
type demoOptions struct {
	starter, examples string
	rounds            int
	stderr            io.Writer
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Measure how long the demo takes, and until its first device waits",
		Long: `Runs "starter dev --demo examples --until-done", as make demo does, and takes the time from the start of the
process: until it says that a device waits, and until its end. The first run, which warms up, does not count.`,
		Args: cobra.NoArgs,
		RunE: report.Command(func(ctx context.Context, stderr io.Writer) (*report.Report, error) {
			o.stderr = stderr
			return o.run(ctx)
		}),
	}
	cmd.Flags().IntVar(&o.rounds, "rounds", 3, "how often it is measured; figures are the longest")
	cmd.Flags().StringVar(&o.starter, "starter", "", process.StarterUsage)
	cmd.Flags().StringVar(&o.examples, "examples", "examples", "`folder` of the demo's fleet")
	return cmd
}

func (o demoOptions) run(ctx context.Context) (*report.Report, error) {
	if o.rounds < 1 {
		return nil, errors.New("--rounds must be 1 or more")
	}
	program, done, err := process.Starter(ctx, o.starter)
	if err != nil {
		return nil, err
	}
	defer done()
	var waiting, whole float64
	for round := range o.rounds + 1 {
		first, all, err := o.play(ctx, program)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(o.stderr, "demo: the first device waits after %.1f s, all is over after %.1f s\n", first.Seconds(),
			all.Seconds())
		if round > 0 {
			waiting, whole = max(waiting, first.Seconds()), max(whole, all.Seconds())
		}
	}
	r := report.New("demo", map[string]any{"rounds": o.rounds})
	r.Add(report.Figure{
		Name: "demo, start to the first device waiting", Value: waiting,
		Unit: "s", Target: report.AtMost(15),
	})
	r.Add(report.Figure{Name: "demo, the whole", Value: whole, Unit: "s", Target: report.AtMost(60)})
	return r, nil
}

// someWait is what the demo says of its tally once devices wait.
var someWait = regexp.MustCompile(`\b[1-9][0-9]* wait\b`)

func (o demoOptions) play(ctx context.Context, program string) (first, all time.Duration, err error) {
	cmd := exec.CommandContext(ctx, program, "dev", "--demo", o.examples, "--until-done")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it has servers to end
	cmd.WaitDelay = time.Minute
	lines, err := cmd.StderrPipe()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, fmt.Errorf("start the demo: %w", err)
	}
	var said strings.Builder
	scan := bufio.NewScanner(lines)
	for scan.Scan() {
		fmt.Fprintln(&said, scan.Text())
		if first == 0 && someWait.MatchString(scan.Text()) {
			first = time.Since(start)
		}
	}
	err = errors.Join(scan.Err(), cmd.Wait())
	all = time.Since(start)
	if err == nil && first == 0 {
		err = errors.New("it has not said that a device waits")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("play the demo: %w\n%s", err, said.String())
	}
	return first, all, nil
}
