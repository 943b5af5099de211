package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"rollcall/runbook"
)

// text writes the review for people: what to decide first, then what to decide it by.
func (r *review) text(w io.Writer, now time.Time) error {
	for _, line := range r.head(now) {
		if line[1] != "" {
			fmt.Fprintf(w, "%-12s%s\n", line[0]+":", oneLine(line[1]))
		}
	}
	if err := r.writeSpec(w); err != nil {
		return err
	}
	if err := r.writeTimeline(w); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nNext:")
	for _, c := range r.Commands {
		if _, err := fmt.Fprintf(w, "  %s\n", c); err != nil {
			return err
		}
	}
	return nil
}

func (r *review) head(now time.Time) [][2]string {
	workflow := r.WorkflowID
	if r.WorkflowNote != "" {
		workflow += " (" + r.WorkflowNote + ")"
	}
	return [][2]string{
		{"Name", r.Name},
		{"Org", runbook.OrgName(r.OrgID)},
		{"State", r.stateLine(now)},
		{"Versions", r.versionLine()},
		{"Summary", r.Summary.line()},
		{"Lifecycle", r.Lifecycle},
		{"Restore", orNone(r.RestoreID)},
		{"Last seen", r.seenLine(now)},
		{"Owner", orNone(r.Owner)},
		{"Labels", orNone(pairs(r.Labels))},
		{"Workflow", workflow},
		{"Web UI", r.WebUI},
	}
}

func (s statusPart) line() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.Status+": "+s.Info, ": "), ": ")
}

func (r *review) stateLine(now time.Time) string {
	if r.Since == nil {
		return string(r.State)
	}
	return fmt.Sprintf("%s since %s (%s)", r.State, stamp(*r.Since), ago(now, r.Since))
}

func (r *review) versionLine() string {
	line := "restored " + r.Restored + ", reported " + orNone(r.Reported)
	if r.NextVersion != "" {
		line += "; a resume renders " + r.NextVersion
	}
	return line
}

func (r *review) seenLine(now time.Time) string {
	if r.RestoreID == "" {
		return ""
	}
	return ago(now, r.LastSeenBefore) + ", before the restore"
}

func (r *review) writeSpec(w io.Writer) error {
	if r.Gone {
		_, err := fmt.Fprintln(w, "\nThe device is no longer in the inventory: withdraw it.")
		return err
	}
	fmt.Fprintf(w, "\nSpec: %s\n", oneLine(r.Source.note()))
	if len(r.Spec) == 0 {
		_, err := fmt.Fprintln(w, "  "+none)
		return err
	}
	text, err := toYAML(r.Spec)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fmt.Fprint(w, "  ", line)
	}
	return nil
}

func (r *review) writeTimeline(w io.Writer) error {
	fmt.Fprintln(w, "\nTimeline:")
	if len(r.Timeline) == 0 {
		_, err := fmt.Fprintln(w, "  "+none)
		return err
	}
	rows := make([][]string, len(r.Timeline))
	for i, e := range r.Timeline {
		rows[i] = []string{stamp(e.At), what(e), result(e), e.Version, e.By, e.Reason, e.Why}
	}
	return table(w, []string{"AT", "MESSAGE", "RESULT", "VERSION", "BY", "REASON", "WHY"}, rows)
}

func what(e runbook.TimelineEntry) string {
	name := e.Message
	if name == "" {
		name = string(e.Transition)
	}
	if e.Times > 1 {
		name += " ×" + strconv.Itoa(e.Times)
	}
	return name
}

func result(e runbook.TimelineEntry) string {
	switch {
	case !e.Accepted:
		return "refused: " + string(e.Code)
	case e.From != e.To && e.From != "":
		return fmt.Sprintf("%s → %s", e.From, e.To)
	}
	return string(e.To)
}
