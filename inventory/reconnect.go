package inventory

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/runbook"
)

// ReconnectInput says that a device has reported the version that it runs.
type ReconnectInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// Restored is the restored version as the caller knows it. A device that holds another is decided on by that one.
	Restored string `json:"restoredVersion"`
	Reported string `json:"reportedVersion"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
}

func (in ReconnectInput) target() target { return target{in.RestoreID, in.OrgID, in.Name} }

// Reconnect carries out a report: T2 or T3 for a device that awaits its reconnect, a note of the version for one that is
// paused, T5 for one that was deleted or decommissioned meanwhile, and nothing for one that has left the roll call. A
// version that cannot be read, and a restore that may no longer act, are a Refusal in the result; errors are failures.
func (s *Store) Reconnect(ctx context.Context, in ReconnectInput) (Transitioned, error) {
	if d, err := runbook.DecideReconnect(in.Restored, in.Reported); err == nil {
		c := in.decided(d, in.Restored)
		at, ok, err := s.apply(ctx, c)
		if err != nil && !repeatedRequest(err) {
			return Transitioned{}, fmt.Errorf("reconnect device %s: %w", in.Name, err)
		}
		if ok {
			return c.result(at), nil
		}
	}
	// Something is not as the caller thinks, or has been done already: look closely.
	return s.settle(ctx, "reconnect", in.target(), in.RequestID, func(tx *sqlx.Tx, p position) (Transitioned, error) {
		return s.reconnect(ctx, tx, in, p)
	})
}

func (s *Store) reconnect(ctx context.Context, tx *sqlx.Tx, in ReconnectInput, p position) (Transitioned, error) {
	if refusal := p.fence(); refusal != nil {
		return p.refused(refusal), nil // not kept: a restore that is over has no story any more
	}
	if !p.state().Open() {
		return p.ended(ctx, tx)
	}
	if p.gone() {
		return p.withdraw(ctx, tx, record{Signal: runbook.SignalReconnect, Actor: ActorService, Reason: p.goneReason(), RequestID: in.RequestID})
	}
	d, err := runbook.DecideReconnect(p.restored(), in.Reported)
	if refusal := runbook.AsRefusal(err); refusal != nil {
		return p.refuse(ctx, tx, refusal, record{Signal: runbook.SignalReconnect, Reported: in.Reported, Actor: ActorService, RequestID: in.RequestID})
	}
	if p.state() == runbook.StateAwaitingReconnect {
		return s.applyAt(ctx, tx, p, in.decided(d, p.restored()))
	}
	if d.Reported == p.Reported && p.RollState == runbook.StateConflictPaused {
		return p.stands(), nil
	}
	return s.applyAt(ctx, tx, p, in.again(d.Reported, p.restored()))
}

// decided is T2 or T3 of a device that awaits its reconnect.
func (in ReconnectInput) decided(d runbook.ReconnectDecision, restored string) change {
	c := change{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name,
		FromRoll: runbook.StateAwaitingReconnect, FromDevice: runbook.StateAwaitingReconnect, Restored: restored,
		Transition: d.Transition, From: runbook.StateAwaitingReconnect, To: d.To, Reported: d.Reported,
		Dropped: []string{runbook.AnnotationAwaitingReconnect, runbook.AnnotationConflictPaused}, Added: map[string]string{},
		Updated: map[string]string{"status": d.Updated}, Config: map[string]string{"renderedVersion": d.Reported},
		Signal: runbook.SignalReconnect, Actor: ActorService, RequestID: in.RequestID,
	}
	if d.To != runbook.StateConflictPaused {
		c.Summary = map[string]string{"status": runbook.SummaryOnline}
		return c.withEvent(runbook.ReasonDeviceConnected, eventNormal, "Reported version "+d.Reported+" and is back to normal")
	}
	c.Summary = map[string]string{"status": string(runbook.StateConflictPaused), "info": d.Info}
	c.Added = map[string]string{runbook.AnnotationConflictPaused: runbook.AnnotationTrue}
	return c.withEvent(runbook.ReasonDeviceConflictPaused, eventWarning, d.Info)
}

// again is the report of a device that is paused: it stays so, and a resume renders past what it reports now.
func (in ReconnectInput) again(reported, restored string) change {
	return change{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, Restored: restored,
		Transition: runbook.Reported, To: runbook.StateConflictPaused, Reported: reported,
		Dropped: []string{}, Added: map[string]string{},
		Summary: map[string]string{"info": runbook.ConflictInfo(restored, reported)}, Config: map[string]string{"renderedVersion": reported},
		Signal: runbook.SignalReconnect, Actor: ActorService, RequestID: in.RequestID,
	}
}

// repeatedRequest tells whether the audit holds the request already, with something else done by it.
func repeatedRequest(err error) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && pqErr.Constraint == "transitions_request"
}
