package printer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// Output formats, as -o takes them. The empty one is text for people.
const (
	FormatText = ""
	FormatWide = "wide"
	FormatJSON = "json"
	FormatYAML = "yaml"
	FormatName = "name"
	// FormatJSONPath and FormatColumns take a template behind an equals sign.
	FormatJSONPath = "jsonpath"
	FormatColumns  = "custom-columns"
)

// Format is the value of a -o flag: one of those that its command knows.
type Format struct {
	Value string
	// Template is what follows FormatJSONPath or FormatColumns.
	Template string
	allowed  []string
}

// BindFormat adds the flag -o to cmd, which takes one of the allowed formats.
func BindFormat(cmd *cobra.Command, allowed ...string) *Format {
	f := &Format{allowed: allowed}
	cmd.Flags().VarP(f, "output", "o", "output `format`: "+strings.Join(allowed, ", "))
	// Completion is a convenience: a flag that cannot be completed still works.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
	return f
}

// String is the format's name.
func (f *Format) String() string { return f.Value }

// Type is what help calls the value.
func (f *Format) Type() string { return "format" }

// Set takes the format's name; an unknown one is an error that lists those there are.
func (f *Format) Set(s string) error {
	name, template, ok := strings.Cut(s, "=")
	takes := name == FormatJSONPath || name == FormatColumns
	if !slices.Contains(f.allowed, name) || ok != takes || takes && template == "" {
		if takes && slices.Contains(f.allowed, name) {
			return fmt.Errorf("output format %s needs a template, as in %s={.items[*].metadata.name}", name, FormatJSONPath)
		}
		return fmt.Errorf("unknown output format %q: use one of %s", s, strings.Join(f.allowed, ", "))
	}
	f.Value, f.Template = name, template
	return nil
}

// Machine reports whether the output is for scripts, so that nothing else may stand beside it.
func (f *Format) Machine() bool { return f.Value == FormatJSON || f.Value == FormatYAML }

// Print writes v as the format says: as JSON or YAML, else as text writes it.
func (f *Format) Print(w io.Writer, v any, text func(io.Writer) error) error {
	switch f.Value {
	case FormatJSON:
		return printJSON(w, v)
	case FormatYAML:
		return printYAML(w, v)
	default:
		return AtOnce(w, text)
	}
}

// AtOnce gathers the pieces that text writes, a table's cells above all, each of which would be a call of the system.
// What was written before an error is shown.
func AtOnce(w io.Writer, text func(io.Writer) error) error {
	gathered := bufio.NewWriter(w)
	err := text(onto(gathered, w))
	if flushed := gathered.Flush(); err == nil {
		return flushed
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	if err == nil {
		_, err = w.Write(escapeUnseen(text.Bytes()))
	}
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// unseen reports whether a terminal would not show a character of a text but do something with it: control characters
// and those that turn the direction of what follows. Line breaks, tabs and carriage returns are left to the format.
func unseen(r rune) bool {
	return r != '\n' && r != '\t' && r != '\r' &&
		(unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029')
}

// escapeUnseen writes such characters of JSON, or of a quoted text in YAML, as escapes.
func escapeUnseen(text []byte) []byte {
	if bytes.IndexFunc(text, unseen) < 0 {
		return text
	}
	var escaped bytes.Buffer
	for _, r := range string(text) {
		if unseen(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
			continue
		}
		escaped.WriteRune(r)
	}
	return escaped.Bytes()
}

// JSONLine returns v as JSON in one line, with the escapes of -o json.
func JSONLine(v any) ([]byte, error) {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return escapeUnseen(line.Bytes()), nil
}
