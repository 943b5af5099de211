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
	All       bool   `json:"all,omitempty"`
	// As is who the caller says that they are; see runbook.RestoreInput.
	As string `json:"as,omitempty"`
}

// OpenRestoreResult says since when it is, which restores it took over from, and whether it was open before.
type OpenRestoreResult struct {
	StartedAt  time.Time `json:"startedAt"`
	Superseded []string  `json:"superseded,omitempty"`
	TakenUp    bool      `json:"takenUp,omitempty"`
	// Mode is empty where a worker of an earlier release has opened it.
	Mode runbook.Mode `json:"mode,omitempty"`
	// WasRunning reports whether the database held it open before.
	WasRunning bool `json:"wasRunning,omitempty"`
}

// OpenRestore makes a restore the current one (T6 for those that it supersedes). It is refused while another runs,
// unless it supersedes it. Repeating it returns the same.
func (a *Activities) OpenRestore(ctx context.Context, in OpenRestoreInput) (OpenRestoreResult, error) {
	defer heartbeats(ctx)()
	if err := a.checkMode(ctx, in.ID); err != nil {
		return OpenRestoreResult{}, err
	}
	by, identity, err := a.decider(ctx, in.As, in.By)
	if onlyFailure(err) != nil {
		return OpenRestoreResult{}, err
	}
	var opened inventory.OpenRestoreResult
	if err == nil {
		opened, err = a.Inventory.OpenRestore(ctx, inventory.OpenRestoreInput{
			ID: in.ID, OrgID: in.OrgID, Supersede: in.Supersede, By: by, Mode: a.mode(), All: in.All,
		})
	}
	if err == nil {
		err = a.compareMode(in.ID, opened.Mode)
	}
	if auditErr := a.recordOpen(ctx, in, by, identity, err); auditErr != nil {
		return OpenRestoreResult{}, asActivityError(auditErr)
	}
	if err == nil && opened.TakenUp {
		err = a.nameLostEnds(ctx, in, opened.WasRunning)
	}
	return OpenRestoreResult(opened), asActivityError(err)
}

// recordOpen writes to the audit that someone has started a restore or taken it up again, or was refused.
func (a *Activities) recordOpen(
	ctx context.Context, in OpenRestoreInput, by string, identity runbook.Identity, err error,
) error {
	if onlyFailure(err) != nil {
		return nil // it is tried again
	}
	if runbook.CheckRestoreID(in.ID) != nil {
		return nil // the audit has no place for it
	}
	act := runbook.ActRestore
	if in.Supersede {
		act = runbook.ActSupersede
	}
	err = a.Inventory.RecordAct(ctx, inventory.ActInput{
		Act: act, OrgID: in.OrgID, RestoreID: in.ID, By: by, RequestID: "start/" + runOf(ctx),
		Who: inventory.Who{Identity: identity}, Refusal: runbook.AsRefusal(err),
	})
	if inventory.RefusesValues(err) {
		return nil // an organisation that is none
	}
	return err
}

// RollInput names the part of the fleet to put on a restore's roll: at most Limit devices, from where the part before
// ended.
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

// PutOnRoll is T1 for one part of the fleet, in one transaction. Repeating it puts no one on the roll twice.
func (a *Activities) PutOnRoll(ctx context.Context, in RollInput) (RollResult, error) {
	defer heartbeats(ctx)()
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return RollResult{}, err
	}
	put, err := a.Inventory.PutOnRoll(ctx, inventory.RollInput(in))
	return RollResult(put), asActivityError(err)
}

// AnnotateRequests marks the unapproved enrollment requests of one part of the fleet, so that a device approved later
// begins AwaitingReconnect.
func (a *Activities) AnnotateRequests(ctx context.Context, in RollInput) (RollResult, error) {
	defer heartbeats(ctx)()
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return RollResult{}, err
	}
	put, err := a.Inventory.AnnotateRequests(ctx, inventory.RollInput(in))
	return RollResult(put), asActivityError(err)
}

// RestoreRef names a restore.
type RestoreRef struct {
	RestoreID string `json:"restoreId"`
}

// FinishRollResult is the length of the roll.
type FinishRollResult struct {
	Total int64 `json:"total"`
}

// FinishRoll closes the roll's list and records the event SystemRestored, once for each restore. Beside Flight Control
// it first marks the devices of the roll, so that Flight Control compares versions when they poll.
func (a *Activities) FinishRoll(ctx context.Context, in RestoreRef) (FinishRollResult, error) {
	defer heartbeats(ctx)()
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return FinishRollResult{}, err
	}
	if a.Flightctl != nil {
		// Their annotations are committed: the poll that finds a mark without one would delete it, and strand its device.
		marked := func(string, []string, []string) error { return nil }
		if err := a.markAwaited(ctx, in.RestoreID, marked); err != nil {
			return FinishRollResult{}, asActivityError(err)
		}
	}
	total, err := a.Inventory.FinishRoll(ctx, in.RestoreID)
	return FinishRollResult{Total: total}, asActivityError(err)
}

// Tally reads a restore's state and counts.
func (a *Activities) Tally(ctx context.Context, in RestoreRef) (runbook.RestoreStatus, error) {
	status, err := a.Inventory.RestoreStatus(ctx, in.RestoreID)
	return status, asActivityError(err)
}

// CloseRestoreInput ends a restore as Completed or Cancelled.
type CloseRestoreInput struct {
	RestoreID string               `json:"restoreId"`
	State     runbook.RestoreState `json:"state"`
	By        string               `json:"by,omitempty"`
	Reason    string               `json:"reason,omitempty"`
	// RequestID is that of the signal that cancels it; empty where the workflow was cancelled itself.
	RequestID string `json:"requestId,omitempty"`
	runbook.Origin
}

// CloseRestore ends a restore and returns its tally; one that has ended already stays as it is. What the database has
// lost of it is named first, and where that is the end of the roll, the roll is made.
func (a *Activities) CloseRestore(ctx context.Context, in CloseRestoreInput) (runbook.RestoreStatus, error) {
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return runbook.RestoreStatus{}, err
	}
	a.nameLossesAtEnd(ctx, in)
	end := inventory.CloseRestoreInput{RestoreID: in.RestoreID, State: in.State, By: in.By, Reason: in.Reason}
	status, err := a.Inventory.CloseRestore(ctx, end)
	if refusal := runbook.AsRefusal(err); refusal != nil && refusal.Code == runbook.CodeFailed {
		// The database was put back to before the roll was made, and those that are missing wait.
		if _, err = a.Inventory.FinishRoll(ctx, in.RestoreID); err == nil {
			status, err = a.Inventory.CloseRestore(ctx, end)
		}
	}
	if err == nil && in.State == runbook.RestoreCancelled && status.State == in.State {
		requestID := in.RequestID
		if requestID == "" {
			requestID = "cancel/" + runOf(ctx)
		}
		_, err = a.RecordAct(ctx, ActInput{
			Act: runbook.ActCancel, OrgID: status.OrgID, RestoreID: in.RestoreID, By: in.By, Reason: in.Reason,
			RequestID: requestID, Origin: in.Origin,
		})
		return status, err
	}
	return status, asActivityError(err)
}
