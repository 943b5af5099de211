package printer

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// RestoreView is what `status -o json` prints, and what its text is made of.
type RestoreView struct {
	runbook.RestoreStatus
	// Warning says why nothing goes on with a restore that is open, and what helps, or what cannot be done at present.
	Warning string `json:"warning,omitempty"`
}

// Text writes the view for people, with who has waited longest.
func (v RestoreView) Text(w io.Writer, now time.Time, waiting []inventory.Waiting) error {
	if v.Warning != "" {
		fmt.Fprintf(w, "warning: %s\n\n", OneLine(v.Warning))
	}
	return Status(w, now, v.RestoreStatus, waiting)
}

// Status writes the tally of a restore, and who has waited longest.
func Status(w io.Writer, now time.Time, status runbook.RestoreStatus, waiting []inventory.Waiting) error {
	fmt.Fprintf(w, "restore %s: %s\nstarted  %s (%s)%s\n", status.RestoreID, status.State, Stamp(status.StartedAt),
		Ago(now, &status.StartedAt), by(status.OpenedBy))
	fmt.Fprintf(w, "mode     %s\n", ModeText(status.Mode))
	if status.FinishedAt != nil {
		fmt.Fprintf(w, "finished %s (%s)%s\n", Stamp(*status.FinishedAt), Ago(now, status.FinishedAt), ending(status))
	}
	rows := make([][]string, 0, len(runbook.States)+1)
	for _, s := range runbook.States {
		rows = append(rows, []string{string(s), fmt.Sprint(status.Counts[s])})
	}
	rows = append(rows, []string{"total", fmt.Sprint(status.Total)})
	fmt.Fprintln(w)
	if err := Table(w, []string{"STATE", "DEVICES"}, rows); err != nil {
		return err
	}
	if status.Lost > 0 {
		fmt.Fprintf(w,
			"\nlost: %d acknowledged messages, when the database was put back to an earlier moment; the audit names "+
				"each (code %s)\n",
			status.Lost, runbook.CodeLost)
	}
	writeHeldBack(w, status.HeldBack)
	return printWaiting(w, now, status, waiting)
}

// writeHeldBack says which reports were not told, and warns where they are many.
func writeHeldBack(w io.Writer, h *runbook.HeldBack) {
	if h == nil {
		return
	}
	what := "held back"
	if h.Many() {
		what = "warning: held back"
	}
	fmt.Fprintf(w, "\n%s: %s of %s that report too many versions, most of them of %s\nlook at it: %s\n", what,
		Count(h.Reports, "report"), Count(h.Devices, "device"), OneLine(h.Most),
		Command(h.OrgID, "describe", "device", h.Most))
}

// ending says who ended a restore and why.
func ending(status runbook.RestoreStatus) string {
	end := by(status.ClosedBy)
	if status.SupersededBy != "" {
		end += ", superseded by " + status.SupersededBy
	}
	if status.Reason != "" {
		end += ": " + OneLine(status.Reason)
	}
	return end
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + OneLine(who)
}

func printWaiting(w io.Writer, now time.Time, status runbook.RestoreStatus, waiting []inventory.Waiting) error {
	if len(waiting) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nwaited longest (%d of %d):\n", len(waiting), status.Waiting())
	headers := []string{"NAME", "ORG", "FLEET", "STATE", "SINCE", "RESTORED", "REPORTED", "LAST SEEN BEFORE", "LAST SEEN"}
	rows := make([][]string, len(waiting))
	for i, d := range waiting {
		rows[i] = []string{
			d.Name, runbook.OrgName(d.OrgID), OrNone(d.Fleet), string(d.State), Ago(now, &d.Since), runbook.OrZero(d.Restored),
			OrNone(d.Reported), Ago(now, d.LastSeenBefore), Ago(now, d.LastSeen),
		}
	}
	if !slices.ContainsFunc(waiting, func(d inventory.Waiting) bool { return d.OrgID != runbook.DefaultOrgID }) {
		headers = slices.Delete(headers, 1, 2) // the organisation, which is no news
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 1, 2)
		}
	}
	if err := Table(w, headers, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nreview one: %s\n", Command(waiting[0].OrgID, "describe", "device", waiting[0].Name))
	return err
}

// Lower is a state in the middle of a sentence.
func Lower[S ~string](state S) string { return strings.ToLower(string(state)) }

// ModeText is a mode with what it means.
func ModeText(mode runbook.Mode) string {
	if mode == runbook.ModeFlightctl {
		return string(mode) + " (Flight Control answers the agents and renders)"
	}
	return string(mode) + " (our gateway answers the agents and renders)"
}
