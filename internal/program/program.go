// Package program is the frame of the long-running programs, worker and gateway: their common flags, signals, exit
// codes and connections.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"rollcall/internal/host"
	"rollcall/internal/version"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Program is one long-running program.
type Program struct {
	// Name is that of the command.
	Name string
	// Short and Long say what it does, for its man page.
	Short, Long string
	// Bind adds the flags of the program's own.
	Bind func(*flag.FlagSet)
	// Run works until ctx is done and then returns nil, or returns what ended it.
	Run func(ctx context.Context, c Common) error
}

// Common is what the common flags say.
type Common struct {
	Logger *slog.Logger
	// MetricsListen is the address of /metrics, /healthz and /readyz; empty serves none.
	MetricsListen string
}

// Main runs the program with this process's arguments until SIGINT or SIGTERM, and ends the process.
func (p Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := p.Execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Execute runs the program and returns its exit code: 0 after a graceful stop, 2 for a command line that cannot be
// understood, 1 for other errors.
func (p Program) Execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := p.parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case o.showVersion:
		fmt.Fprintln(stdout, p.Name, version.Get())
		return exitOK
	}
	if err := p.run(ctx, o, stderr); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return exitFailed
	}
	return exitOK
}

func (p Program) run(ctx context.Context, o options, stderr io.Writer) error {
	if o.healthcheck {
		return checkHealth(ctx, o.metricsListen)
	}
	logger, err := host.NewLogger(stderr, o.logFormat, o.logLevel)
	if err != nil {
		return err
	}
	return p.Run(ctx, Common{Logger: logger, MetricsListen: o.metricsListen})
}
