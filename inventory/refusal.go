package inventory

import (
	"context"
	"fmt"

	"rollcall/runbook"
)

// RefusalInput is a message that was refused before it reached the inventory.
type RefusalInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// Message is the name of the signal or update.
	Message string `json:"message"`
	By      string `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Version is what the message reported or expected.
	Version string `json:"version,omitempty"`
	// State is where the device stood, and stays.
	State   runbook.State   `json:"state"`
	Refusal runbook.Refusal `json:"refusal"`
	// RequestID makes a repetition leave one entry; empty adds one each time.
	RequestID string `json:"requestId,omitempty"`
}

// RecordRefusal keeps a refused message in the audit. It changes nothing else and asks for nothing: whoever was refused
// may have had the wrong restore or device.
func (s *Store) RecordRefusal(ctx context.Context, in RefusalInput) error {
	r := record{
		target: target{in.RestoreID, in.OrgID, in.Name}, Transition: runbook.Refused, From: in.State, To: in.State,
		Reported: in.Version, Signal: in.Message, Actor: in.By, Reason: in.Reason,
		Code: in.Refusal.Code, Message: in.Refusal.Message, RequestID: in.RequestID,
	}
	if err := r.write(ctx, s.db); err != nil {
		return fmt.Errorf("record the refusal of %s for device %s: %w", in.Message, in.Name, err)
	}
	return nil
}
