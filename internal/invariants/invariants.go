// Package invariants checks that a roll call has kept its promises: the audit, the roll, the devices and the
// workflows agree with each other and with the table of transitions. It reads, and Repair starts workflows that
// are missing. Nothing else is changed.
package invariants

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// The invariants that Check looks for. The names are printed and are promises to scripts.
const (
	// OneDecision: a device leaves ConflictPaused by one accepted decision of a person, by T5 or by T6.
	OneDecision = "OneDecision"
	// TableOfTransitions: only transitions of the table happen, and an outcome never changes within a restore.
	TableOfTransitions = "TableOfTransitions"
	// RollFollowsAudit: a device's row of the roll is in the state of its last transition.
	RollFollowsAudit = "RollFollowsAudit"
	// OneCurrentRestore: at most one restore of an organisation runs, and nothing of an older one acts.
	OneCurrentRestore = "OneCurrentRestore"
	// CountsAddUp: the roll holds as many devices as the restore put on it, and a completed restore left no one waiting.
	CountsAddUp = "CountsAddUp"
	// AuthenticatedByDecision: a person counts as authenticated only where a decision of theirs was recorded.
	AuthenticatedByDecision = "AuthenticatedByDecision"
	// DeviceFollowsRoll: a device's annotations say what its row of the current roll says.
	DeviceFollowsRoll = "DeviceFollowsRoll"
	// NothingRendered: nothing is rendered for a device while it waits or is paused.
	NothingRendered = "NothingRendered"
	// AllOnRoll: every device of the backup that is to be called is on the roll of the restore that runs.
	AllOnRoll = "AllOnRoll"
	// NoneLeftOut: the waves of a restore leave no device out that waits.
	NoneLeftOut = "NoneLeftOut"
	// WorkflowRuns: every open restore, every waiting device and every plan that was started has a running workflow, and
	// no one else has. The database knows every restore that has one.
	WorkflowRuns = "WorkflowRuns"
	// WorkflowFollowsRoll: a device's workflow and the search index say what its row of the roll says.
	WorkflowFollowsRoll = "WorkflowFollowsRoll"
	// WorkflowFollowsRequest: the workflow of an enrollment request waits for a decision while the request is pending, and
	// no longer.
	WorkflowFollowsRequest = "WorkflowFollowsRequest"
	// WorkflowAnswers: a workflow that runs answers what it is asked.
	WorkflowAnswers = "WorkflowAnswers"
	// OwnMessages: a message of one device or organisation changes nothing of another.
	OwnMessages = "OwnMessages"
	// TakesEffect: what was acknowledged takes effect: a report moves its device, and a resume that a plan counts was
	// decided.
	TakesEffect = "TakesEffect"
	// NoSecret: the value of a secret setting is in no table, list or history that people and scripts read.
	NoSecret = "NoSecret"
)

// Violation is one broken promise, with the row and the workflow concerned.
type Violation struct {
	Invariant string `json:"invariant"`
	RestoreID string `json:"restoreId,omitempty"`
	OrgID     string `json:"orgId,omitempty"`
	Name      string `json:"name,omitempty"`
	// Entry is the number of the entry of rollcall.transitions concerned, or 0.
	Entry int64 `json:"entry,omitempty"`
	// WorkflowID is the workflow concerned, or empty.
	WorkflowID string `json:"workflowId,omitempty"`
	// Message says what is wrong, and what to do where something can be done.
	Message string `json:"message"`
	// Missing reports whether Repair can start the workflow.
	Missing bool `json:"missing,omitempty"`
}

// key reports whether two violations are the same one, whatever the numbers in their messages.
func (v Violation) key() [5]string {
	return [5]string{v.Invariant, v.RestoreID, v.OrgID, v.Name, v.WorkflowID}
}

// Database checks everything that the database alone can tell, on one snapshot of it. The order of the result is
// by restore, organisation and device.
func Database(ctx context.Context, db *sqlx.DB) ([]Violation, error) {
	tx, err := db.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("begin to read: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	var found []Violation
	for _, check := range []func(context.Context, *sqlx.Tx) ([]Violation, error){
		checkAudit, checkRestores, checkRoll, checkMissing, checkWaves, checkDevices, checkDecisions,
		checkForeign, checkAnswers,
	} {
		some, err := check(ctx, tx)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	slices.SortStableFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.RestoreID, b.RestoreID), cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.Name, b.Name))
	})
	return found, nil
}

// deviceRow names a device on a roll.
type deviceRow struct {
	RestoreID string `db:"restore_id"`
	OrgID     string `db:"org_id"`
	Name      string `db:"name"`
}

func (r deviceRow) violation(invariant, format string, args ...any) Violation {
	return Violation{
		Invariant: invariant, RestoreID: r.RestoreID, OrgID: r.OrgID, Name: r.Name,
		WorkflowID: runbook.DeviceWorkflowID(r.OrgID, r.Name), Message: fmt.Sprintf(format, args...),
	}
}
