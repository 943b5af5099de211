package activities

import (
	"context"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// TransitionResult says what a message did to a device, and where the device stands now, also where it did nothing.
type TransitionResult struct {
	// Applied tells that the message's transition is in the database, from this attempt or an earlier one of the same message.
	Applied    bool               `json:"applied"`
	Transition runbook.Transition `json:"transition,omitempty"`
	State      runbook.State      `json:"state"`
	Restored   string             `json:"restored,omitempty"`
	Reported   string             `json:"reported,omitempty"`
	Next       string             `json:"next,omitempty"`
	Updated    string             `json:"updated,omitempty"`
	At         time.Time          `json:"at"`
	// By and Reason are those of the decision that stands, which may be somebody else's.
	By      string           `json:"by,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
}

// ReconnectInput is a device's report, and the restored version that it is to be compared with.
type ReconnectInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	Restored  string `json:"restored"`
	Reported  string `json:"reported"`
	RequestID string `json:"requestId"`
}

// Reconnect carries out T2 or T3; a paused device's new version is noted, and a device that is gone leaves the roll (T5).
func (a *Activities) Reconnect(ctx context.Context, in ReconnectInput) (TransitionResult, error) {
	result, err := a.Inventory.Reconnect(ctx, inventory.ReconnectInput(in))
	return TransitionResult(result), failure(err)
}

// ResumeInput is a human's decision.
type ResumeInput struct {
	RestoreID     string `json:"restoreId"`
	OrgID         string `json:"orgId"`
	Name          string `json:"name"`
	By            string `json:"by"`
	Reason        string `json:"reason,omitempty"`
	ExpectVersion string `json:"expectVersion,omitempty"`
	RequestID     string `json:"requestId"`
}

// Resume carries out T4 where the decision counts; otherwise the result holds the refusal.
func (a *Activities) Resume(ctx context.Context, in ResumeInput) (TransitionResult, error) {
	result, err := a.Inventory.Resume(ctx, inventory.ResumeInput(in))
	return TransitionResult(result), failure(err)
}

// WithdrawInput says that a device was deleted or decommissioned.
type WithdrawInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	By        string `json:"by,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Force     bool   `json:"force,omitempty"`
	RequestID string `json:"requestId"`
}

// Withdraw carries out T5 where the inventory agrees; otherwise the result holds the refusal.
func (a *Activities) Withdraw(ctx context.Context, in WithdrawInput) (TransitionResult, error) {
	result, err := a.Inventory.Withdraw(ctx, inventory.WithdrawInput(in))
	return TransitionResult(result), failure(err)
}

// LookInput names a device that stands elsewhere in the database than where its workflow has put it.
type LookInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	RequestID string `json:"requestId"`
}

// Look has the roll follow what another hand did to the device (T2, T3, T4 or T5), if anything.
func (a *Activities) Look(ctx context.Context, in LookInput) (TransitionResult, error) {
	result, err := a.Inventory.Look(ctx, inventory.LookInput(in))
	return TransitionResult(result), failure(err)
}

// RefusalInput is a message that was refused, for the audit.
type RefusalInput struct {
	RestoreID string          `json:"restoreId"`
	OrgID     string          `json:"orgId"`
	Name      string          `json:"name"`
	Message   string          `json:"message"`
	By        string          `json:"by,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Version   string          `json:"version,omitempty"`
	State     runbook.State   `json:"state"`
	Refusal   runbook.Refusal `json:"refusal"`
	RequestID string          `json:"requestId"`
}

// RecordRefusal writes a refused message to the audit; the device stays as it is.
func (a *Activities) RecordRefusal(ctx context.Context, in RefusalInput) error {
	return failure(a.Inventory.RecordRefusal(ctx, inventory.RefusalInput(in)))
}

// RestoreStateResult is where a restore stands.
type RestoreStateResult struct {
	State runbook.RestoreState `json:"state"`
}

// RestoreState reads whether a restore is still the current one.
func (a *Activities) RestoreState(ctx context.Context, in RestoreRef) (RestoreStateResult, error) {
	state, err := a.Inventory.RestoreStateOf(ctx, in.RestoreID)
	return RestoreStateResult{State: state}, failure(err)
}
