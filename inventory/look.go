package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// LookInput asks that the roll follow a device which another hand has moved.
type LookInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
}

// Look has the roll follow what Flight Control itself did to a device: it has taken its annotation away (T2, or T4 of one
// that was paused), has paused it (T3), or has deleted or decommissioned it (T5). The device stays as it is, and Flight
// Control has told its own users. Where roll and device agree, nothing is done. What may not act any more is a Refusal.
func (s *Store) Look(ctx context.Context, in LookInput) (Transitioned, error) {
	t := target{in.RestoreID, in.OrgID, in.Name}
	return s.settle(ctx, "look at", t, in.RequestID, func(tx *sqlx.Tx, p position) (Transitioned, error) {
		if refusal := p.fence(); refusal != nil {
			return p.refused(refusal), nil
		}
		if !p.RollState.Open() {
			return p.ended(ctx, tx)
		}
		r := record{Signal: runbook.SignalLook, Actor: ActorFlightctl, RequestID: in.RequestID}
		if p.gone() {
			r.Reason = p.goneReason()
			return p.withdraw(ctx, tx, r)
		}
		return p.adopt(ctx, tx, r)
	})
}

// adopt writes where the device stands into its row of the roll, if that is ahead of the roll; a device that has gone
// back to waiting is no transition, and is decided by its next report.
func (p position) adopt(ctx context.Context, tx *sqlx.Tx, r record) (Transitioned, error) {
	if p.DeviceState == p.RollState || p.DeviceState == runbook.StateAwaitingReconnect {
		return p.stands(), nil
	}
	r.target, r.From, r.To, r.Restored, r.Reported = p.target, p.RollState, p.DeviceState, p.Restored, runbook.OrZero(p.Running)
	switch {
	case p.RollState == runbook.StateConflictPaused:
		r.Transition, r.Reason, r.Next = runbook.T4, "Flight Control has resumed it", p.renderedNext()
	case p.DeviceState == runbook.StateConflictPaused:
		r.Transition, r.Reason = runbook.T3, "Flight Control has paused it"
	default:
		r.Transition, r.Reason = runbook.T2, "Flight Control has released it"
	}
	if err := r.adopted(ctx, tx); err != nil {
		return Transitioned{}, err
	}
	if err := tx.GetContext(ctx, &r.At, `select now()`); err != nil {
		return Transitioned{}, fmt.Errorf("read the time: %w", err)
	}
	return r.result(true), r.write(ctx, tx)
}

// The restored version stays as T1 found it: what the annotation says by now, Flight Control may have rendered since.
const adoptEntry = `
update rollcall.roll set state = :to_state, since = now(), reported_version = :reported_version, next_version = nullif(:next_version, ''),
    resumed_by = case when :transition = 'T4' then :actor else resumed_by end,
    resumed_reason = case when :transition = 'T4' then :reason else resumed_reason end,
    resumed_at = case when :transition = 'T4' then now() else resumed_at end
where restore_id = :restore_id and org_id = :org_id and name = :name`

func (r record) adopted(ctx context.Context, tx *sqlx.Tx) error {
	if _, err := tx.NamedExecContext(ctx, adoptEntry, r); err != nil {
		return fmt.Errorf("write where it stands: %w", err)
	}
	return nil
}

// renderedNext is the version that the device gets next: what Flight Control has rendered by now, or will.
func (p position) renderedNext() string {
	now, err := runbook.ParseVersion(p.Annotated)
	if then, thenErr := runbook.ParseVersion(p.Restored); err == nil && thenErr == nil && now > then {
		return now.String()
	}
	next, err := runbook.NextVersion(p.Restored, p.Running)
	if err != nil {
		return "" // a version that cannot be read, or none left above: there is nothing to tell
	}
	return next.String()
}
