package activities

import (
	"context"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// OpenRestoreInput asks for a restore to become the current one of its organisations.
type OpenRestoreInput struct {
	ID        string `json:"id"`
	OrgID     string `json:"orgId,omitempty"`
	Supersede bool   `json:"supersede,omitempty"`
	By        string `json:"by,omitempty"`
}

// OpenRestoreResult says since when it is, which restores it took over from, and whether it was open before.
type OpenRestoreResult struct {
	StartedAt  time.Time `json:"startedAt"`
	Superseded []string  `json:"superseded,omitempty"`
	TakenUp    bool      `json:"takenUp,omitempty"`
}

// OpenRestore makes a restore the current one (T6 for those that it supersedes). It is refused while another runs, unless
// it supersedes it. Repeating it returns the same.
func (a *Activities) OpenRestore(ctx context.Context, in OpenRestoreInput) (OpenRestoreResult, error) {
	opened, err := a.Inventory.OpenRestore(ctx, inventory.OpenRestoreInput(in))
	return OpenRestoreResult(opened), failure(err)
}

// RollInput names the part of the fleet to put on a restore's roll: at most Limit devices, from where the part before ended.
type RollInput struct {
	RestoreID string `json:"restoreId"`
	AfterOrg  string `json:"afterOrg,omitempty"`
	AfterName string `json:"afterName,omitempty"`
	FromPage  int64  `json:"fromPage,omitempty"`
	ToPage    int64  `json:"toPage,omitempty"`
	Pages     int64  `json:"pages,omitempty"`
	Limit     int    `json:"limit,omitempty"`
}

// RollResult says how many were put, where to go on, and whether that was all.
type RollResult struct {
	Put      int    `json:"put"`
	LastOrg  string `json:"lastOrg,omitempty"`
	LastName string `json:"lastName,omitempty"`
	FromPage int64  `json:"fromPage,omitempty"`
	ToPage   int64  `json:"toPage,omitempty"`
	Pages    int64  `json:"pages,omitempty"`
	Done     bool   `json:"done"`
}

// Next names the part after r, which was the answer to in. It does no I/O, so that a workflow may call it.
func (r RollResult) Next(in RollInput) RollInput {
	return RollInput(inventory.RollResult(r).Next(inventory.RollInput(in)))
}

// PutOnRoll is T1 for one part of the fleet, in one transaction. Repeating it puts nobody on the roll twice.
func (a *Activities) PutOnRoll(ctx context.Context, in RollInput) (RollResult, error) {
	put, err := a.Inventory.PutOnRoll(ctx, inventory.RollInput(in))
	return RollResult(put), failure(err)
}

// AnnotateRequests marks the unapproved enrollment requests of one part of the fleet, so that a device approved later
// begins AwaitingReconnect.
func (a *Activities) AnnotateRequests(ctx context.Context, in RollInput) (RollResult, error) {
	put, err := a.Inventory.AnnotateRequests(ctx, inventory.RollInput(in))
	return RollResult(put), failure(err)
}

// RestoreRef names a restore.
type RestoreRef struct {
	RestoreID string `json:"restoreId"`
}

// FinishRollResult is the length of the roll.
type FinishRollResult struct {
	Total int64 `json:"total"`
}

// FinishRoll closes the roll's list and records the event SystemRestored, once for each restore.
func (a *Activities) FinishRoll(ctx context.Context, in RestoreRef) (FinishRollResult, error) {
	total, err := a.Inventory.FinishRoll(ctx, in.RestoreID)
	return FinishRollResult{Total: total}, failure(err)
}

// Tally reads a restore's state and counts.
func (a *Activities) Tally(ctx context.Context, in RestoreRef) (runbook.RestoreStatus, error) {
	status, err := a.Inventory.RestoreStatus(ctx, in.RestoreID)
	return status, failure(err)
}

// CloseRestoreInput ends a restore as Completed or Cancelled.
type CloseRestoreInput struct {
	RestoreID string               `json:"restoreId"`
	State     runbook.RestoreState `json:"state"`
	By        string               `json:"by,omitempty"`
	Reason    string               `json:"reason,omitempty"`
}

// CloseRestore ends a restore and returns its tally; one that has ended already stays as it is.
func (a *Activities) CloseRestore(ctx context.Context, in CloseRestoreInput) (runbook.RestoreStatus, error) {
	status, err := a.Inventory.CloseRestore(ctx, inventory.CloseRestoreInput(in))
	return status, failure(err)
}
