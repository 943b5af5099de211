package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Output formats, as -o takes them. The empty one is text for people.
const (
	outputText = ""
	outputWide = "wide"
	outputJSON = "json"
	outputYAML = "yaml"
	outputName = "name"
)

// format is the value of a -o flag: one of those that its command knows.
type format struct {
	value   string
	allowed []string
}

func bindFormat(cmd *cobra.Command, allowed ...string) *format {
	f := &format{allowed: allowed}
	cmd.Flags().VarP(f, "output", "o", "output `format`: "+strings.Join(allowed, ", "))
	// Completion is a convenience: a flag that cannot be completed still works.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
	return f
}

// String is the format's name.
func (f *format) String() string { return f.value }

// Type is what help calls the value.
func (f *format) Type() string { return "format" }

// Set takes the format's name; an unknown one is an error that lists those there are.
func (f *format) Set(s string) error {
	if !slices.Contains(f.allowed, s) {
		return fmt.Errorf("unknown output format %q: use one of %s", s, strings.Join(f.allowed, ", "))
	}
	f.value = s
	return nil
}

// machine tells whether the output is for scripts, so that nothing else may stand beside it.
func (f *format) machine() bool { return f.value == outputJSON || f.value == outputYAML }

// print writes v as the format says: as JSON or YAML, else as text writes it.
func (f *format) print(w io.Writer, v any, text func(io.Writer) error) error {
	switch f.value {
	case outputJSON:
		return printJSON(w, v)
	case outputYAML:
		return printYAML(w, v)
	default:
		return atOnce(w, text)
	}
}

// atOnce gathers the pieces that text writes, a table's cells above all, each of which would be a call of the system. What
// was written before an error is shown.
func atOnce(w io.Writer, text func(io.Writer) error) error {
	gathered := bufio.NewWriter(w)
	err := text(gathered)
	if flushed := gathered.Flush(); err == nil {
		return flushed
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
