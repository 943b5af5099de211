package review

import (
	"context"
	"fmt"
	"io"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Restore is what an operator looks at of a restore.
type Restore struct {
	printer.RestoreView
	WorkflowID string   `json:"workflowId"`
	WebUI      string   `json:"webUI,omitempty"`
	Commands   []string `json:"commands"`
}

// ReadRestore adds to the tally of a restore what can be done next.
func ReadRestore(ctx context.Context, store *inventory.Store, view printer.RestoreView) (*Restore, error) {
	mayTakeUp, err := store.MayTakeUp(ctx, view.RestoreID)
	if err != nil {
		return nil, err
	}
	r := &Restore{RestoreView: view, WorkflowID: runbook.RestoreWorkflowID(view.RestoreID)}
	r.Commands = r.suggest(mayTakeUp)
	return r, nil
}

func (r *Restore) suggest(mayTakeUp bool) []string {
	ours := func(args ...string) string { return printer.Command(r.OrgID, args...) }
	list := func(state runbook.State) string {
		return ours("get", "devices", "--field-selector=status.summary.status="+string(state))
	}
	var commands []string
	switch r.State {
	case runbook.RestoreRunning:
		if r.Counts[runbook.StateConflictPaused] > 0 {
			commands = append(commands, list(runbook.StateConflictPaused), ours("diff", "devices", "--all"))
		}
		if r.Counts[runbook.StateAwaitingReconnect] > 0 {
			commands = append(commands, list(runbook.StateAwaitingReconnect))
		}
		commands = append(commands, printer.Command("", "cancel", r.RestoreID, "--reason", "wrong backup"))
	case runbook.RestoreCancelled:
		if mayTakeUp {
			commands = append(commands, printer.Command("", "restore", "--id", r.RestoreID))
		}
	case runbook.RestoreSuperseded:
		if r.SupersededBy != "" {
			commands = append(commands, printer.Command("", "describe", "restore", r.SupersededBy))
		}
	}
	return append(commands, ours("get", "transitions", "--restore", r.RestoreID))
}

// Text writes the restore for people, with who has waited longest.
func (r *Restore) Text(w io.Writer, now time.Time, waiting []inventory.Waiting) error {
	if err := r.RestoreView.Text(w, now, waiting); err != nil {
		return err
	}
	fmt.Fprintln(w)
	writeHead(w, [][2]string{{"Workflow", r.WorkflowID}, {"Web UI", r.WebUI}})
	return writeNext(w, r.Commands)
}
