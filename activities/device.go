package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// TransitionResult says what a message did to a device, and where the device stands now, also where it did nothing.
type TransitionResult struct {
	// Applied tells that the message's transition is in the database, from this attempt or an earlier one of the same
	// message.
	Applied    bool               `json:"applied"`
	Transition runbook.Transition `json:"transition,omitempty"`
	State      runbook.State      `json:"state"`
	Restored   string             `json:"restored,omitempty"`
	Reported   string             `json:"reported,omitempty"`
	Next       string             `json:"next,omitempty"`
	Updated    string             `json:"updated,omitempty"`
	At         time.Time          `json:"at"`
	// By and Reason are those of the decision that stands, which may be someone else's.
	By      string           `json:"by,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
	inventory.Who
	// Now is where the device stands by now, where the rest is what the request was answered with before. nil otherwise.
	// Activities of earlier releases do not say so.
	Now *inventory.Standing `json:"now,omitempty"`
}

// ReconnectInput is a device's report, and the restored version that it is to be compared with.
type ReconnectInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	Restored  string `json:"restored"`
	Reported  string `json:"reported"`
	// By is who reports, as runbook.ReconnectSignal.Reporter says.
	By        string `json:"by,omitempty"`
	Reason    string `json:"reason,omitempty"`
	RequestID string `json:"requestId"`
	runbook.Origin
}

// Reconnect carries out T2 or T3; a paused device's new version is noted, and a device that is gone leaves the roll
// (T5).
func (a *Activities) Reconnect(ctx context.Context, in ReconnectInput) (TransitionResult, error) {
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return TransitionResult{}, err
	}
	who, forbidden, err := a.identify(ctx, in.Origin, in.RequestID, in.OrgID, runbook.Claim{
		Act: runbook.ActReconnect, Target: runbook.DecisionTarget{Name: in.Name, Version: in.Reported}, By: in.By,
		Reason: in.Reason,
	})
	if err != nil {
		return TransitionResult{}, asActivityError(err)
	}
	result, err := a.Inventory.Reconnect(ctx, inventory.ReconnectInput{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, Restored: in.Restored, Reported: in.Reported,
		By: in.By, Reason: in.Reason, RequestID: in.RequestID, Who: who, Forbidden: forbidden,
	})
	return TransitionResult(result), asActivityError(err)
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
	// Plan is the id of the plan that the decision comes from, or empty.
	Plan string `json:"plan,omitempty"`
	runbook.Origin
}

// Resume carries out T4 where the decision counts; otherwise the result holds the refusal.
func (a *Activities) Resume(ctx context.Context, in ResumeInput) (TransitionResult, error) {
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return TransitionResult{}, err
	}
	who, forbidden, err := a.forbids(ctx, in)
	if err != nil {
		return TransitionResult{}, asActivityError(err)
	}
	result, err := a.Inventory.Resume(ctx, inventory.ResumeInput{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, By: in.By, Reason: in.Reason,
		ExpectVersion: in.ExpectVersion, RequestID: in.RequestID, Who: who, Forbidden: forbidden,
	})
	return TransitionResult(result), asActivityError(err)
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
	// Decommission is the target with which Flight Control decommissions the device first; empty is not to.
	Decommission string `json:"decommission,omitempty"`
	runbook.Origin
}

// Withdraw carries out T5 where the inventory agrees; otherwise the result holds the refusal.
func (a *Activities) Withdraw(ctx context.Context, in WithdrawInput) (TransitionResult, error) {
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return TransitionResult{}, err
	}
	who, forbidden, err := a.identify(ctx, in.Origin, in.RequestID, in.OrgID, runbook.Claim{
		Act: runbook.ActWithdraw, Target: runbook.DecisionTarget{Name: in.Name}, By: in.By, Reason: in.Reason,
		Details: runbook.WithdrawSignal{Force: in.Force, Decommission: in.Decommission}.Details(),
	})
	if err != nil {
		return TransitionResult{}, asActivityError(err)
	}
	wrongMode := in.Decommission != "" && a.Flightctl == nil
	if in.Decommission != "" && !wrongMode && forbidden == nil {
		err := a.decommission(ctx, in)
		if forbidden = refusedThere(err); err != nil && forbidden == nil {
			return TransitionResult{}, err
		}
	}
	result, err := a.Inventory.Withdraw(ctx, inventory.WithdrawInput{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, By: in.By, Reason: in.Reason, Force: in.Force,
		RequestID: in.RequestID, WrongMode: wrongMode,
		Who: who, Forbidden: forbidden,
	})
	return TransitionResult(result), asActivityError(err)
}

// decommission has Flight Control decommission a device that its restore still waits for, and resume it where it is
// paused, so that its agent hears of it. The watch may have withdrawn the device in between.
func (a *Activities) decommission(ctx context.Context, in WithdrawInput) error {
	if err := a.decommissionThere(ctx, in); err != nil {
		return err
	}
	must, err := a.Inventory.MustHear(ctx, in.RestoreID, in.OrgID, in.Name)
	if err != nil || !must {
		return err
	}
	failed := a.calls.do(ctx, callKey{"hear", in.OrgID, in.Name, in.RequestID}, func(ctx context.Context) error {
		_, err := a.Flightctl.Resume(ctx, in.OrgID, []string{in.Name}, inventory.ResumeID("decommission-"+in.RequestID))
		return err
	})
	must, err = a.Inventory.MustHear(ctx, in.RestoreID, in.OrgID, in.Name)
	switch {
	case err != nil:
		return err
	case must && failed == nil:
		return errors.New("the device is not resumed in Flight Control, and its agent does not hear of its decommissioning")
	case must:
		return failed
	}
	return nil
}

// decommissionThere has Flight Control decommission a device. After an error the device says whether that was done, now
// or before.
func (a *Activities) decommissionThere(ctx context.Context, in WithdrawInput) error {
	entry, err := a.Inventory.WaitingEntry(ctx, in.RestoreID, in.OrgID, in.Name)
	if err != nil || entry == nil {
		return err // a device that is not waited for is the withdrawal's to refuse
	}
	gone, err := a.Inventory.Gone(ctx, in.OrgID, in.Name)
	if err != nil || gone {
		return err
	}
	failed := a.calls.do(ctx, callKey{"decommission", in.OrgID, in.Name, in.RequestID}, func(ctx context.Context) error {
		return a.Flightctl.Decommission(ctx, in.OrgID, in.Name, in.Decommission)
	})
	if failed == nil {
		return nil
	}
	gone, err = a.Inventory.Gone(ctx, in.OrgID, in.Name)
	switch {
	case err != nil:
		return fmt.Errorf("%v; and then: %w", failed, err) //nolint:errorlint // it is not known what came of the call
	case !gone:
		return failed
	}
	return nil
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
	if err := a.checkMode(ctx, in.RestoreID); err != nil {
		return TransitionResult{}, err
	}
	result, err := a.Inventory.Sync(ctx, inventory.SyncInput(in))
	return TransitionResult(result), asActivityError(err)
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
	runbook.Origin
}

// RecordRefusal writes a refused message to the audit; the device stays as it is.
func (a *Activities) RecordRefusal(ctx context.Context, in RefusalInput) error {
	who, err := a.identifyRefused(ctx, in)
	if err != nil {
		return asActivityError(err)
	}
	return asActivityError(a.Inventory.RecordRefusal(ctx, inventory.RefusalInput{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, Message: in.Message, By: in.By, Reason: in.Reason,
		Version: in.Version,
		State:   in.State, Refusal: in.Refusal, RequestID: in.RequestID, Who: who,
	}))
}

// RestoreStateResult is where a restore stands.
type RestoreStateResult struct {
	State runbook.RestoreState `json:"state"`
	// SupersededBy is the restore that has taken over. An activity of an earlier release does not say so.
	SupersededBy string `json:"supersededBy,omitempty"`
}

// RestoreState reads whether a restore is still the current one.
func (a *Activities) RestoreState(ctx context.Context, in RestoreRef) (RestoreStateResult, error) {
	standing, err := a.Inventory.RestoreStanding(ctx, in.RestoreID)
	return RestoreStateResult(standing), asActivityError(err)
}
