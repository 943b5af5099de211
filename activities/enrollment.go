package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"rollcall/enrollment"
	"rollcall/inventory"
	"rollcall/runbook"
)

// ApproveInput is a human's decision to let a device in.
type ApproveInput struct {
	OrgID     string            `json:"orgId"`
	Name      string            `json:"name"`
	By        string            `json:"by"`
	Reason    string            `json:"reason,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	ExpectKey string            `json:"expectKey,omitempty"`
	RequestID string            `json:"requestId"`
}

// DecidedResult says what a decision did to an enrollment request, and where the request stands now.
type DecidedResult struct {
	// Applied tells that this decision, from this attempt or an earlier one, stands.
	Applied bool                    `json:"applied"`
	State   runbook.EnrollmentState `json:"state"`
	Device  runbook.State           `json:"deviceState,omitempty"`
	// RestoreID is the restore on whose roll the device is; empty where it is on none.
	RestoreID string `json:"restoreId,omitempty"`
	// By, Reason and At are those of the decision that stands, which may be somebody else's.
	By      string           `json:"by,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	At      time.Time        `json:"at,omitzero"`
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
}

// Approve lets a device in where the decision counts; otherwise the result holds the refusal.
func (a *Activities) Approve(ctx context.Context, in ApproveInput) (DecidedResult, error) {
	result, err := a.Inventory.Approve(ctx, inventory.ApproveInput(in))
	return DecidedResult(result), failure(err)
}

// DenyInput is a human's decision to keep a device out.
type DenyInput struct {
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	By        string `json:"by"`
	Reason    string `json:"reason,omitempty"`
	RequestID string `json:"requestId"`
}

// Deny keeps a device out where the decision counts; otherwise the result holds the refusal.
func (a *Activities) Deny(ctx context.Context, in DenyInput) (DecidedResult, error) {
	result, err := a.Inventory.Deny(ctx, inventory.DenyInput(in))
	return DecidedResult(result), failure(err)
}

// WaitingEntryInput names a device on a restore's roll.
type WaitingEntryInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
}

// WaitingEntryResult is the device's place on the roll; nil where it does not hold that restore open any more.
type WaitingEntryResult struct {
	Entry *RollEntry `json:"entry,omitempty"`
}

// WaitingEntry reads whether a restore still waits for a device, and in which state it is.
func (a *Activities) WaitingEntry(ctx context.Context, in WaitingEntryInput) (WaitingEntryResult, error) {
	row, err := a.Inventory.WaitingEntry(ctx, in.RestoreID, in.OrgID, in.Name)
	if err != nil || row == nil {
		return WaitingEntryResult{}, failure(err)
	}
	entry := RollEntry(*row)
	return WaitingEntryResult{Entry: &entry}, nil
}

// enrollmentsAtOnce is how many workflows one StartEnrollments starts, so that it ends well within its time-out.
const enrollmentsAtOnce = 200

// StartEnrollments starts the workflow of each enrollment request of one part of the fleet that nobody has decided about.
// They are nobody's children: a pending request never keeps a restore open. Repeating it starts none twice, and one that
// waits already, since an earlier restore, goes on waiting.
func (a *Activities) StartEnrollments(ctx context.Context, in RollInput) (RollResult, error) {
	if in.Limit <= 0 || in.Limit > enrollmentsAtOnce {
		in.Limit = enrollmentsAtOnce
	}
	pending, page, err := a.Inventory.PendingRequests(ctx, inventory.RollInput(in))
	if err != nil {
		return RollResult{}, failure(err)
	}
	for _, request := range pending {
		err := enrollment.Start(ctx, a.Starter, activity.GetInfo(ctx).TaskQueue, "pending when "+in.RestoreID+" was restored",
			runbook.EnrollmentInput{OrgID: request.OrgID, Name: request.Name, RestoreID: in.RestoreID})
		if err != nil {
			return RollResult{}, fmt.Errorf("start the workflow of enrollment request %s: %w", request.Name, err)
		}
	}
	return RollResult(page), nil
}
