package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Exit codes that scripts rely on.
const (
	exitOK       = 0
	exitFailed   = 1 // could not be done
	exitUsage    = 2 // the command line cannot be understood
	exitNothing  = 3 // resume, approve, deny: nothing matched, or nothing was there to decide
	exitRefusals = 4 // resume, approve, deny: some were refused
)

// exitError is the end of a command that was understood: its exit code, and what to say on stderr. An err of nil says
// nothing, because the output has said it all.
type exitError struct {
	code int
	err  error
}

// Error is the text of the cause.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap is the cause.
func (e *exitError) Unwrap() error { return e.err }

// usagef is an error in the command line; format and args are those of fmt.Errorf.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// run makes a command's body: what it returns is a failure (exit 1) unless it says otherwise. Errors that never pass
// through here come from cobra's reading of the command line and are usage errors.
func run(body func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := body(cmd.Context(), args)
		var exit *exitError
		if err == nil || errors.As(err, &exit) {
			return err
		}
		return &exitError{code: exitFailed, err: err}
	}
}

// report prints how cmd ended as the user sees it and returns the exit code.
func report(streams IO, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitUsage, err: err}
	}
	if exit.err != nil {
		fmt.Fprintf(streams.Stderr, "error: %v\n", exit.err)
	}
	if exit.code == exitUsage {
		fmt.Fprintf(streams.Stderr, "See '%s --help'.\n", cmd.CommandPath())
	}
	return exit.code
}
