package printer

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"rollcall/runbook"
)

// Outcomes are those of a bulk command that were not done: refused, asked without an answer, and not asked.
type Outcomes struct {
	Refused []refusedDevice `json:"refused"`
	// Unknown were asked and have not answered: the decision may have been carried out, or may yet be.
	Unknown []refusedDevice `json:"unknown"`
	// NotAsked are the names of those that were not asked.
	NotAsked []string `json:"notAsked"`
	// AnsweredBefore is how many had answered before the command was interrupted that this one goes on with.
	AnsweredBefore int `json:"answeredBefore,omitempty"`
	// Interrupted reports whether the command was interrupted.
	Interrupted bool `json:"interrupted,omitempty"`

	// whyNotAsked is why the first was not asked.
	whyNotAsked string
}

type refusedDevice struct {
	Name    string       `json:"name"`
	Code    runbook.Code `json:"code"`
	Message string       `json:"message"`
}

func newOutcomes() Outcomes {
	return Outcomes{Refused: []refusedDevice{}, Unknown: []refusedDevice{}, NotAsked: []string{}}
}

// add puts in what became of one that was not done.
func (o *Outcomes) add(name string, code runbook.Code, message string) {
	one := refusedDevice{Name: name, Code: code, Message: message}
	switch code {
	case runbook.CodeNotAsked:
		o.NotAsked = append(o.NotAsked, name)
		if o.whyNotAsked == "" {
			o.whyNotAsked = message
		}
	case runbook.CodeOutcomeUnknown:
		o.Unknown = append(o.Unknown, one)
	default:
		o.Refused = append(o.Refused, one)
	}
}

// AllAnswered reports whether each that was to be asked has answered.
func (o *Outcomes) AllAnswered() bool { return len(o.Unknown)+len(o.NotAsked) == 0 }

// exitCode returns the exit code that scripts rely on. done is how many were done. idle are the codes of refusals that
// mean that there was nothing to do.
func (o *Outcomes) exitCode(done int, idle ...runbook.Code) int {
	onlyIdle := !slices.ContainsFunc(o.Refused, func(d refusedDevice) bool { return !slices.Contains(idle, d.Code) })
	switch {
	case o.Interrupted && !o.AllAnswered():
		return ExitInterrupted
	case done == 0 && onlyIdle && o.AllAnswered() && o.AnsweredBefore == 0:
		return ExitNothing
	case len(o.Refused) > 0 || !o.AllAnswered():
		return ExitRefusals
	}
	return ExitOK
}

// text writes a line for each; kind stands before its name.
func (o *Outcomes) text(w io.Writer, kind string) {
	for _, d := range o.Refused {
		fmt.Fprintf(w, "%s/%s: refused (%s): %s\n", kind, OneLine(d.Name), d.Code, OneLine(d.Message))
	}
	for _, d := range o.Unknown {
		fmt.Fprintf(w, "%s/%s: unknown (%s): %s\n", kind, OneLine(d.Name), d.Code, OneLine(d.Message))
	}
	for _, name := range o.NotAsked {
		fmt.Fprintf(w, "%s/%s: not asked: %s\n", kind, OneLine(name), OneLine(o.whyNotAsked))
	}
}

// summary counts them: "2 refused, 1 unknown, 5 not asked".
func (o *Outcomes) summary() string {
	parts := []string{fmt.Sprintf("%d refused", len(o.Refused))}
	if n := len(o.Unknown); n > 0 {
		parts = append(parts, fmt.Sprintf("%d unknown", n))
	}
	if n := len(o.NotAsked); n > 0 {
		parts = append(parts, fmt.Sprintf("%d not asked", n))
	}
	return strings.Join(parts, ", ")
}

// asked says how many devices were asked, or in a dry run would be.
func asked(n int, dryRun bool) string {
	if dryRun {
		return Count(n, "device") + " would be asked"
	}
	return Count(n, "device") + " asked"
}

// before says how many had answered before.
func (o *Outcomes) before() string {
	if o.AnsweredBefore == 0 {
		return ""
	}
	return fmt.Sprintf("; %d had answered before the interruption", o.AnsweredBefore)
}
