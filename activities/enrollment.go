package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"rollcall/internal/enrollment"
	"rollcall/inventory"
	"rollcall/runbook"
)

// ApproveInput is a human's decision to let a device in.
type ApproveInput struct {
	OrgID         string            `json:"orgId"`
	Name          string            `json:"name"`
	By            string            `json:"by"`
	Reason        string            `json:"reason,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	ReplaceLabels bool              `json:"replaceLabels,omitempty"`
	ExpectKey     string            `json:"expectKey,omitempty"`
	RequestID     string            `json:"requestId"`
	runbook.Origin
}

// DecidedResult says what a decision did to an enrollment request, and where the request stands now.
type DecidedResult struct {
	// Applied tells that this decision, from this attempt or an earlier one, stands.
	Applied bool                    `json:"applied"`
	State   runbook.EnrollmentState `json:"state"`
	Device  runbook.State           `json:"deviceState,omitempty"`
	// RestoreID is the restore on whose roll the device is; empty where it is on none.
	RestoreID string `json:"restoreId,omitempty"`
	// By, Reason and At are those of the decision that stands, which may be someone else's.
	By      string           `json:"by,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	At      time.Time        `json:"at,omitzero"`
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
	// Elsewhere reports whether the request was decided elsewhere, in Flight Control itself.
	Elsewhere bool `json:"elsewhere,omitempty"`
	inventory.Who
}

// Approve lets a device in where the decision counts; otherwise the result holds the refusal.
func (a *Activities) Approve(ctx context.Context, in ApproveInput) (DecidedResult, error) {
	request := runbook.ApproveRequest{Labels: in.Labels, ReplaceLabels: in.ReplaceLabels}
	who, forbidden, err := a.identify(ctx, in.Origin, in.RequestID, in.OrgID, runbook.Claim{
		Act: runbook.ActApprove, Target: runbook.DecisionTarget{Name: in.Name, Version: in.ExpectKey}, By: in.By,
		Reason: in.Reason, Details: request.Details(),
	})
	if err != nil {
		return DecidedResult{}, asActivityError(err)
	}
	approve := inventory.ApproveInput{
		OrgID: in.OrgID, Name: in.Name, By: in.By, Reason: in.Reason, Labels: in.Labels, ReplaceLabels: in.ReplaceLabels,
		ExpectKey: in.ExpectKey, RequestID: in.RequestID, Who: who, Forbidden: forbidden,
	}
	if a.Flightctl != nil {
		return a.approveThere(ctx, approve)
	}
	result, err := a.Inventory.Approve(ctx, approve)
	return DecidedResult(result), asActivityError(err)
}

// approveThere has Flight Control approve. After the call, whatever it was answered, the request and the device say
// what was done. Where that is nothing and Flight Control has refused, the approval is refused with its words.
func (a *Activities) approveThere(ctx context.Context, in inventory.ApproveInput) (DecidedResult, error) {
	user, err := a.Flightctl.User(ctx, in.OrgID)
	if err != nil {
		activity.GetLogger(ctx).Warn("Flight Control does not say who we are; each approval counts as ours", "error", err)
	}
	in.User = user
	result, ask, err := a.Inventory.AskApproval(ctx, in)
	if err != nil || !ask {
		return DecidedResult(result), asActivityError(err)
	}
	failed := a.calls.do(ctx, callKey{"approve", in.OrgID, in.Name, in.RequestID}, func(ctx context.Context) error {
		return a.Flightctl.Approve(ctx, in.OrgID, in.Name, in.Labels, in.ReplaceLabels)
	})
	if ctx.Err() != nil {
		return DecidedResult{}, failed
	}
	in.Forbidden = refusedThere(failed)
	if result, ask, err = a.Inventory.AskApproval(ctx, in); err != nil || !ask {
		return DecidedResult(result), asActivityError(err)
	}
	if failed == nil {
		failed = errors.New("the request is approved in Flight Control, and its database does not say so yet")
	}
	return DecidedResult{}, failed
}

// DenyInput is a human's decision to keep a device out.
type DenyInput struct {
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	By        string `json:"by"`
	Reason    string `json:"reason,omitempty"`
	RequestID string `json:"requestId"`
	// Delete has Flight Control delete the request.
	Delete bool `json:"delete,omitempty"`
	runbook.Origin
}

// Deny keeps a device out where the decision counts; otherwise the result holds the refusal. A request that is to be
// deleted is denied first: whatever the call to Flight Control is answered, the request is then gone or it is not.
func (a *Activities) Deny(ctx context.Context, in DenyInput) (DecidedResult, error) {
	who, forbidden, err := a.identify(ctx, in.Origin, in.RequestID, in.OrgID, runbook.Claim{
		Act: runbook.ActDeny, Target: runbook.DecisionTarget{Name: in.Name}, By: in.By, Reason: in.Reason,
		Details: runbook.DenyRequest{Delete: in.Delete}.Details(),
	})
	if err != nil {
		return DecidedResult{}, asActivityError(err)
	}
	result, err := a.Inventory.Deny(ctx, inventory.DenyInput{
		OrgID: in.OrgID, Name: in.Name, By: in.By, Reason: in.Reason, RequestID: in.RequestID, Who: who, Forbidden: forbidden,
		Delete: in.Delete, WrongMode: in.Delete && a.Flightctl == nil,
	})
	if err == nil && in.Delete && result.Refusal == nil {
		if err = a.deleteThere(ctx, in); refusedThere(err) != nil {
			result.Refusal = runbook.Refuse(runbook.CodeFailed,
				"enrollment request %s is denied, and Flight Control has not deleted it: %v", in.Name, err)
			err = a.Inventory.RecordRefusal(ctx, inventory.RefusalInput{
				OrgID: in.OrgID, Name: in.Name, Message: runbook.SignalDeny, By: in.By, Reason: in.Reason,
				Refusal: *result.Refusal, RequestID: in.RequestID + "/delete", Who: who,
			})
		}
	}
	return DecidedResult(result), asActivityError(err)
}

// deleteThere has Flight Control delete a request. After an error the database says whether that was done, now or
// before.
func (a *Activities) deleteThere(ctx context.Context, in DenyInput) error {
	if a.Flightctl == nil {
		return errors.New("the request was denied beside Flight Control, which has to delete it: start a worker of that mode")
	}
	failed := a.calls.do(ctx, callKey{"delete", in.OrgID, in.Name, in.RequestID}, func(ctx context.Context) error {
		return a.Flightctl.DeleteEnrollmentRequest(ctx, in.OrgID, in.Name)
	})
	if failed == nil {
		return nil
	}
	there, err := a.Inventory.RequestExists(ctx, in.OrgID, in.Name)
	switch {
	case err != nil:
		return fmt.Errorf("%v; and then: %w", failed, err) //nolint:errorlint // it is not known what came of the call
	case there:
		return failed
	}
	return nil
}

// FollowRequestInput names an enrollment request whose workflow waits, and since when it does.
type FollowRequestInput struct {
	OrgID     string    `json:"orgId"`
	Name      string    `json:"name"`
	Since     time.Time `json:"since"`
	RequestID string    `json:"requestId"`
}

// FollowRequest reads whether a request was decided. A decision of Flight Control itself is recorded as its own.
func (a *Activities) FollowRequest(ctx context.Context, in FollowRequestInput) (DecidedResult, error) {
	result, err := a.Inventory.FollowRequest(ctx, inventory.FollowRequestInput{
		OrgID: in.OrgID, Name: in.Name, Since: in.Since, RequestID: in.RequestID, Mode: a.mode(),
	})
	return DecidedResult(result), asActivityError(err)
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
		return WaitingEntryResult{}, asActivityError(err)
	}
	entry := RollEntry(*row)
	return WaitingEntryResult{Entry: &entry}, nil
}

// enrollmentsAtOnce is how many workflows one StartEnrollments starts, so that it ends well within its time-out.
const enrollmentsAtOnce = 200

// StartEnrollments starts the workflow of each enrollment request of one part of the fleet that no one has decided
// about. They are no one's children: a pending request never keeps a restore open. Repeating it starts none twice, and
// one that waits already, since an earlier restore, goes on waiting.
func (a *Activities) StartEnrollments(ctx context.Context, in RollInput) (RollResult, error) {
	defer heartbeats(ctx)()
	if in.Limit <= 0 || in.Limit > enrollmentsAtOnce {
		in.Limit = enrollmentsAtOnce
	}
	pending, page, err := a.Inventory.PendingRequests(ctx, inventory.RollInput(in))
	if err != nil {
		return RollResult{}, asActivityError(err)
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
