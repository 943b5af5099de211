package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// WithdrawInput says that a device leaves the roll call.
type WithdrawInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// By is who says so; empty is Rollcall itself.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Force is a human's word that the device never comes back, where the inventory still holds it.
	Force bool `json:"force,omitempty"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
}

// Withdraw takes a device off the roll call (T5) if runbook.MayWithdraw allows it; otherwise the Refusal is kept in the
// audit. The device itself, where it still exists, stays as it is. One that has left the roll call already is answered
// with what ended its part.
func (s *Store) Withdraw(ctx context.Context, in WithdrawInput) (Transitioned, error) {
	if in.By == "" {
		in.By = ActorService
	}
	t := target{in.RestoreID, in.OrgID, in.Name}
	return s.settle(ctx, "withdraw", t, in.RequestID, func(tx *sqlx.Tx, p position) (Transitioned, error) {
		r := record{Signal: runbook.SignalWithdraw, Actor: in.By, Reason: in.Reason, RequestID: in.RequestID}
		if refusal := p.fence(); refusal != nil {
			return p.refuse(ctx, tx, refusal, r)
		}
		if !p.state().Open() {
			return p.ended(ctx, tx)
		}
		if err := runbook.MayWithdraw(p.Exists, p.Deleted, p.Lifecycle, in.Force); err != nil {
			return p.refuse(ctx, tx, runbook.AsRefusal(err), r)
		}
		return p.withdraw(ctx, tx, r)
	})
}

const withdrawEntry = `
update rollcall.roll set state = $4, since = now() where restore_id = $1 and org_id = $2 and name = $3`

// withdraw is T5 on locked rows. Its event needs a device that events can be shown with.
func (p position) withdraw(ctx context.Context, tx *sqlx.Tx, r record) (Transitioned, error) {
	if _, err := tx.ExecContext(ctx, withdrawEntry, p.RestoreID, p.OrgID, p.Name, runbook.StateWithdrawn); err != nil {
		return Transitioned{}, fmt.Errorf("withdraw it from the roll: %w", err)
	}
	r.target, r.Transition, r.From, r.To = p.target, runbook.T5, p.state(), runbook.StateWithdrawn
	r.Restored, r.Reported = p.restored(), p.Reported
	if err := tx.GetContext(ctx, &r.At, `select now()`); err != nil {
		return Transitioned{}, fmt.Errorf("read the time: %w", err)
	}
	if err := r.write(ctx, tx); err != nil {
		return Transitioned{}, err
	}
	if p.Exists {
		event := notice{
			OrgID: p.OrgID, Kind: "Device", Name: p.Name, Reason: runbook.ReasonDeviceDecommissioned, Type: eventNormal,
			Actor: eventActor(r.Actor), Message: withReason("Withdrawn from the roll call of restore "+p.RestoreID, r.Reason),
		}
		if err := event.write(ctx, tx); err != nil {
			return Transitioned{}, err
		}
	}
	return r.result(true), nil
}

// goneReason says why a device is gone.
func (p position) goneReason() string {
	switch {
	case !p.Exists:
		return "the device is not in the inventory any more"
	case p.Deleted:
		return "the device was deleted"
	default:
		return "the device is " + p.Lifecycle
	}
}

func withReason(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + ": " + reason
}
