package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"rollcall/runbook"
	"rollcall/starter/printer"
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
	return &exitError{code: printer.ExitUsage, err: fmt.Errorf(format, args...)}
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
		return &exitError{code: printer.ExitFailed, err: err}
	}
}

// report prints how cmd ended as the user sees it and returns the exit code.
func report(streams printer.IO, cmd *cobra.Command, args []string, err error) int {
	if err == nil {
		return printer.ExitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: printer.ExitUsage, err: err}
	}
	if exit.err != nil && wantsJSON(cmd, args) {
		reportJSON(streams, exit)
		return exit.code
	}
	if exit.err != nil {
		fmt.Fprintf(streams.Stderr, "error: %v\n", exit.err)
	}
	if exit.code == printer.ExitUsage {
		fmt.Fprintf(streams.Stderr, "See '%s --help'.\n", cmd.CommandPath())
	}
	return exit.code
}

// failure is an error as `-o json` writes it to stderr, in one line.
type failure struct {
	Error string `json:"error"`
	// Code is the refusal's, where the error is one.
	Code     runbook.Code `json:"code,omitempty"`
	ExitCode int          `json:"exitCode"`
}

func reportJSON(streams printer.IO, exit *exitError) {
	f := failure{Error: exit.err.Error(), ExitCode: exit.code}
	if refusal := runbook.AsRefusal(exit.err); refusal != nil {
		f.Code = refusal.Code
	}
	text, err := printer.JSONLine(f)
	if err != nil {
		text = []byte(err.Error() + "\n")
	}
	_, _ = streams.Stderr.Write(text) // there is nowhere else to say that stderr is closed
}

// wantsJSON reports whether the command line asks for JSON. Where it could not be read to its end, its words are
// looked at.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if flag := cmd.Flags().Lookup("output"); flag == nil || flag.Changed {
		return flag != nil && flag.Value.String() == printer.FormatJSON
	}
	for i, arg := range args {
		switch {
		case arg == "-o=json", arg == "-ojson", arg == "--output=json":
			return true
		case (arg == "-o" || arg == "--output") && i+1 < len(args) && args[i+1] == printer.FormatJSON:
			return true
		}
	}
	return false
}
