package review

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Text writes the review for people: what to decide first, then what to decide it by.
func (r *Review) Text(w io.Writer, now time.Time) error {
	writeHead(w, r.head(now))
	if err := r.writeSpec(w); err != nil {
		return err
	}
	if err := writeStory(w, r.Timeline); err != nil {
		return err
	}
	return writeNext(w, r.Commands)
}

// writeNext writes the commands that can be run next.
func writeNext(w io.Writer, commands []string) error {
	fmt.Fprintln(w, "\nNext:")
	for _, c := range commands {
		if _, err := fmt.Fprintf(w, "  %s\n", c); err != nil {
			return err
		}
	}
	return nil
}

// writeHead writes names and values in two columns, and leaves out what is empty.
func writeHead(w io.Writer, lines [][2]string) {
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(w, "%-12s%s\n", line[0]+":", printer.OneLine(line[1]))
		}
	}
}

func (r *Review) head(now time.Time) [][2]string {
	workflow := r.WorkflowID
	if r.WorkflowNote != "" {
		workflow += " (" + r.WorkflowNote + ")"
	}
	return [][2]string{
		{"Name", r.Name},
		{"Alias", r.Alias},
		{"Org", runbook.OrgName(r.OrgID)},
		{"State", r.stateLine(now)},
		{"Versions", r.versionLine()},
		{"Spec error", r.SpecInvalid},
		{"Held back", r.heldBack()},
		{"Summary", r.Summary.Line()},
		{"Lifecycle", r.Lifecycle},
		{"Restore", r.restoreLine()},
		{"Last seen", r.seenLine(now)},
		{"Owner", printer.OrNone(r.Owner)},
		{"Labels", printer.OrNone(printer.Pairs(r.Labels))},
		{"Workflow", workflow},
		{"Web UI", r.WebUI},
	}
}

func (r *Review) stateLine(now time.Time) string {
	if r.Since == nil {
		return string(r.State)
	}
	return fmt.Sprintf("%s since %s (%s)", r.State, printer.Stamp(*r.Since), printer.Ago(now, r.Since))
}

func (r *Review) restoreLine() string {
	line := printer.OrNone(r.RestoreID)
	if r.RestoreState != "" && r.RestoreState != runbook.RestoreRunning {
		line += " (" + printer.Lower(r.RestoreState) + ")"
	}
	if r.Mode != "" {
		line += ", mode " + printer.ModeText(r.Mode)
	}
	return line
}

func (r *Review) versionLine() string {
	line := "reported " + printer.OrNone(r.Reported) + ", rendered " + printer.OrNone(r.Rendered)
	if r.RestoreID != "" {
		line = "restored " + r.Restored + ", " + line
	}
	switch {
	case r.NextVersion != "":
		line += "; a resume renders " + r.NextVersion
	case r.Unresumable != "":
		line += "; a resume would be refused: " + r.Unresumable
	}
	return line
}

// heldBack says how many reports were not told; empty where all were.
func (r *Review) heldBack() string {
	if r.HeldBack == 0 {
		return ""
	}
	return heldBackText(r.HeldBack)
}

func heldBackText(reports int64) string {
	return printer.Count(reports, "report") + ", because the device reports too many versions; its newest is still told"
}

// seenLine is when the device was last seen, before its restore and since.
func (r *Review) seenLine(now time.Time) string {
	if r.RestoreID == "" {
		return printer.Ago(now, r.LastSeen)
	}
	return printer.Ago(now, r.LastSeenBefore) + " before the restore, " + printer.Ago(now, r.LastSeen) + " since"
}

func (r *Review) writeSpec(w io.Writer) error {
	if r.Gone {
		text := "\nThe device is no longer in the inventory."
		if r.State.Open() {
			text = "\nThe device is no longer in the inventory: withdraw it."
		}
		_, err := fmt.Fprintln(w, text)
		return err
	}
	fmt.Fprintf(w, "\nSpec: %s\n", printer.OneLine(r.Source.note()))
	return writeYAML(w, r.Spec)
}

// writeYAML writes JSON as indented YAML.
func writeYAML(w io.Writer, document []byte) error {
	if len(document) == 0 {
		_, err := fmt.Fprintln(w, "  "+printer.None)
		return err
	}
	text, err := printer.YAML(document)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Fprint(w, "  ", line); err != nil {
			return err
		}
	}
	return nil
}

// writeStory writes a story as a table; the restores are named where there is more than one.
func writeStory(w io.Writer, story []Entry) error {
	fmt.Fprintln(w, "\nTimeline:")
	if len(story) == 0 {
		_, err := fmt.Fprintln(w, "  "+printer.None)
		return err
	}
	headers := []string{"AT", "MESSAGE", "RESULT", "VERSION", "BY", "REASON", "WHY"}
	several := slices.ContainsFunc(story, func(e Entry) bool { return e.RestoreID != story[0].RestoreID })
	if several {
		headers = append(headers, "RESTORE")
	}
	rows := make([][]string, len(story))
	for i, e := range story {
		t := e.TimelineEntry
		rows[i] = []string{printer.Stamp(t.At), what(t), result(t), t.Version, whoActed(t), t.Reason, t.Why}
		if several {
			rows[i] = append(rows[i], e.RestoreID)
		}
	}
	return printer.Table(w, headers, rows)
}

// whoActed is who acted, with how a person is known and through what they acted.
func whoActed(e runbook.TimelineEntry) string {
	if e.By == "" && e.Via == "" {
		return ""
	}
	who := printer.Actor(e.By, e.Identity)
	if e.Via != "" && e.By != runbook.ActorAgent {
		who += ", " + string(e.Via)
	}
	return who
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
