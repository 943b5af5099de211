package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/runbook"
)

// ActorService is the actor of what Rollcall does by itself.
const ActorService = "service:rollcall"

// ActorFlightctl is the actor of what Flight Control has done to a device, and the roll call only follows.
const ActorFlightctl = "service:flightctl"

// Transitioned says what a message did to a device and where the device stands now.
type Transitioned struct {
	// Applied tells that this message, or the same request before, moved the device or was stored. It is false where there
	// was nothing to do, and where Refusal says why not.
	Applied bool `json:"applied"`
	// Transition is what happened: by this message, or, for a device that had left the roll call already, what ended it.
	// Empty where a message changed nothing.
	Transition runbook.Transition `json:"transition,omitempty"`
	State      runbook.State      `json:"state,omitempty"`
	Restored   string             `json:"restoredVersion,omitempty"`
	Reported   string             `json:"reportedVersion,omitempty"`
	// Next is the version that a resume renders.
	Next string `json:"nextVersion,omitempty"`
	// Updated is the status.updated.status that a reconnect wrote.
	Updated string    `json:"updated,omitempty"`
	At      time.Time `json:"at,omitzero"`
	// By and Reason are a human's; of a resume that came second they are those of the one that won.
	By      string           `json:"by,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
	Who
	// Now is where the device stands by now, where the rest is what the request was answered with before. nil otherwise.
	Now *Standing `json:"now,omitempty"`
}

// Standing is where a device stands on a roll. By and Reason are of what has ended its part in the roll call, and Next
// is the version that a resume renders.
type Standing struct {
	State    runbook.State `json:"state"`
	Restored string        `json:"restoredVersion,omitempty"`
	Reported string        `json:"reportedVersion,omitempty"`
	Next     string        `json:"nextVersion,omitempty"`
	At       time.Time     `json:"at,omitzero"`
	By       string        `json:"by,omitempty"`
	Reason   string        `json:"reason,omitempty"`
}

// target names a device's row on a restore's roll.
type target struct {
	RestoreID string `db:"restore_id"`
	OrgID     string `db:"org_id"`
	Name      string `db:"name"`
}

// ReconnectInput says that a device has reported the version that it runs.
type ReconnectInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// Restored is the restored version as the caller knows it. A device that holds another is decided on by that one.
	Restored string `json:"restoredVersion"`
	Reported string `json:"reportedVersion"`
	// By is who reports: runbook.ActorAgent, or a person with their Reason; empty is someone without a name.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
	Who
	// Forbidden is why the report may not count whatever it says; nil where nothing forbids it.
	Forbidden *runbook.Refusal `json:"-"`
}

// refused is the entry of the audit for a report that is refused.
func (in ReconnectInput) refused() record {
	return record{
		Signal: runbook.SignalReconnect, Reported: in.Reported, Actor: in.By, Reason: in.Reason,
		RequestID: in.RequestID, Who: in.Who,
	}
}

func (in ReconnectInput) target() target { return target{in.RestoreID, in.OrgID, in.Name} }

// Reconnect carries out a report: T2 or T3 for a device that awaits its reconnect, a note of the version for one that
// is paused, T5 for one that was deleted or decommissioned meanwhile, and nothing for one that has left the roll call.
// A version that cannot be read, and a restore that may no longer act, are a Refusal in the result; errors are
// failures.
func (s *Store) Reconnect(ctx context.Context, in ReconnectInput) (Transitioned, error) {
	if d, err := runbook.DecideReconnect(in.Restored, in.Reported); err == nil && in.Forbidden == nil {
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
	return s.decideLocked(ctx, "reconnect", runbook.SignalReconnect, in.target(), in.RequestID,
		func(tx *sqlx.Tx, p position) (Transitioned, error) {
			in.RequestID = p.RequestID
			return s.reconnect(ctx, tx, in, p)
		})
}

func (s *Store) reconnect(ctx context.Context, tx *sqlx.Tx, in ReconnectInput, p position) (Transitioned, error) {
	if refusal := p.fence(); refusal != nil {
		return p.refused(refusal), nil // not kept: a restore that is over has no story any more
	}
	if in.Forbidden != nil {
		return p.refuse(ctx, tx, in.Forbidden, in.refused())
	}
	if !p.state().Open() {
		return p.ended(ctx, tx)
	}
	if p.gone() {
		return p.withdraw(ctx, tx, record{
			Signal: runbook.SignalReconnect, Actor: ActorService, Reason: p.goneReason(),
			RequestID: in.RequestID,
		})
	}
	if p.Mode == runbook.ModeFlightctl {
		return p.refuse(ctx, tx, runbook.NoHumanVersion(p.Name), in.refused())
	}
	d, err := runbook.DecideReconnect(p.restored(), in.Reported)
	if refusal := runbook.AsRefusal(err); refusal != nil {
		return p.refuse(ctx, tx, refusal, in.refused())
	}
	if p.state() == runbook.StateAwaitingReconnect {
		return s.applyAt(ctx, tx, p, in.decided(d, p.restored()))
	}
	person := in.By != "" && in.By != runbook.ActorAgent // whose word is recorded, whatever it is
	if d.Reported == p.Reported && p.RollState == runbook.StateConflictPaused && !person {
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
		Signal: runbook.SignalReconnect, RequestID: in.RequestID,
	}.by(in.By, in.Reason, in.Who)
	if d.To != runbook.StateConflictPaused {
		c.Summary = map[string]string{"status": runbook.SummaryOnline, "info": runbook.InfoUpToDate}
		return c.withEvent(runbook.ReasonDeviceConnected, eventNormal,
			"Reported version "+d.Reported+" and is back to normal")
	}
	c.Summary = map[string]string{
		"status": string(runbook.StateConflictPaused),
		"info":   runbook.ConflictPausedInfo(restored, d.Reported),
	}
	c.Added = map[string]string{runbook.AnnotationConflictPaused: runbook.AnnotationTrue}
	return c.withEvent(runbook.ReasonDeviceConflictPaused, eventWarning, d.Info)
}

// again is the report of a device that is paused: it stays so, and a resume renders past what it reports now.
func (in ReconnectInput) again(reported, restored string) change {
	return change{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, Restored: restored,
		Transition: runbook.Reported, To: runbook.StateConflictPaused, Reported: reported,
		Dropped: []string{}, Added: map[string]string{},
		Summary: map[string]string{"info": runbook.ConflictPausedInfo(restored, reported)},
		Config:  map[string]string{"renderedVersion": reported},
		Signal:  runbook.SignalReconnect, RequestID: in.RequestID,
	}.by(in.By, in.Reason, in.Who)
}

// repeatedRequest reports whether the audit holds the request already, with something else done by it.
func repeatedRequest(err error) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && pqErr.Constraint == "transitions_request"
}

// ResumeInput is a human's decision about a paused device.
type ResumeInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// By is who decides; it must not be empty.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// ExpectVersion is the reported version that the human looked at; empty is no expectation.
	ExpectVersion string `json:"expectVersion,omitempty"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
	Who
	// Forbidden is why the decision may not count whatever the device's state; nil where nothing forbids it.
	Forbidden *runbook.Refusal `json:"-"`
}

// Resume carries out a resume (T4) if it counts, which runbook.MayResume says of the rows as they are once they are
// locked: of two at the same time one wins, and the other's Refusal names who did. Every refusal is kept in the audit.
// A device that was deleted or decommissioned meanwhile is withdrawn instead (T5), and the resume refused.
func (s *Store) Resume(ctx context.Context, in ResumeInput) (Transitioned, error) {
	t := target{in.RestoreID, in.OrgID, in.Name}
	return s.decideLocked(ctx, "resume", runbook.SignalResume, t, in.RequestID,
		func(tx *sqlx.Tx, p position) (Transitioned, error) {
			in.RequestID = p.RequestID
			return s.resume(ctx, tx, in, p)
		})
}

func (s *Store) resume(ctx context.Context, tx *sqlx.Tx, in ResumeInput, p position) (Transitioned, error) {
	no := record{
		Signal: runbook.SignalResume, Reported: in.ExpectVersion, Actor: in.By, Reason: in.Reason,
		RequestID: in.RequestID, Who: in.Who,
	}
	if refusal := p.fence(); refusal != nil {
		return p.refuse(ctx, tx, refusal, no)
	}
	if p.state().Open() && p.gone() {
		return p.resumeGone(ctx, tx, no)
	}
	if err := (runbook.ResumeRequest{By: in.By, ExpectVersion: in.ExpectVersion}).Check(); err != nil {
		return p.refuse(ctx, tx, runbook.AsRefusal(err), no)
	}
	if in.Forbidden != nil {
		return p.refuse(ctx, tx, in.Forbidden, no)
	}
	if refusal, err := p.mayRunPlan(ctx, tx, in.DecisionID); err != nil {
		return Transitioned{}, err
	} else if refusal != nil {
		return p.refuse(ctx, tx, refusal, no)
	}
	conflict := runbook.Conflict{State: p.state(), Restored: p.restored(), Reported: p.Reported, ResumedBy: p.ResumedBy}
	if refusal := p.mayDecide(); refusal != nil {
		return p.refuse(ctx, tx, refusal, no)
	}
	next, err := runbook.MayResume(conflict, in.ExpectVersion)
	if err != nil {
		return p.refuse(ctx, tx, runbook.AsRefusal(err), no)
	}
	if p.Mode == runbook.ModeFlightctl {
		return p.decide(ctx, tx, in, next)
	}
	return s.applyAt(ctx, tx, p, in.decided(conflict, next))
}

// decided is T4. The annotation of the restored version stays: whoever renders next counts past it and past what the
// device reports, and without the hash of what was rendered last it does render.
func (in ResumeInput) decided(conflict runbook.Conflict, next runbook.Version) change {
	c := change{
		RestoreID: in.RestoreID, OrgID: in.OrgID, Name: in.Name, Restored: conflict.Restored,
		Transition: runbook.T4, To: runbook.StateNormal, Reported: conflict.Reported, Next: next.String(),
		Dropped: []string{runbook.AnnotationConflictPaused, runbook.AnnotationRenderedSpecHash}, Added: map[string]string{},
		Summary: map[string]string{"status": runbook.SummaryOnline},
		Signal:  runbook.SignalResume, RequestID: in.RequestID,
	}.by(in.By, in.Reason, in.Who)
	message := fmt.Sprintf("Resumed by %s: reported version %s, restored version %q, next version %s", in.By,
		conflict.Reported, conflict.Restored, next)
	if in.Reason != "" {
		message += "; " + in.Reason
	}
	return c.withEvent(runbook.ReasonDeviceConflictResolved, eventNormal, message)
}

// resumeGone withdraws a device that a resume finds gone, and tells the human so.
func (p position) resumeGone(ctx context.Context, tx *sqlx.Tx, no record) (Transitioned, error) {
	done, err := p.withdraw(ctx, tx, record{Signal: runbook.SignalResume, Actor: ActorService, Reason: p.goneReason()})
	if err != nil {
		return Transitioned{}, err
	}
	p.RollState, p.Since = done.State, done.At
	return p.refuse(ctx, tx, runbook.Refuse(runbook.CodeNotWaiting,
		"%s; it has been withdrawn from the roll call and there is nothing to resume", p.goneReason()), no)
}

// WithdrawInput says that a device leaves the roll call.
type WithdrawInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// By is who says so; empty is someone without a name.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Force is a human's word that the device never comes back, where the inventory still holds it.
	Force bool `json:"force,omitempty"`
	// RequestID makes a repetition return the first result; empty is a request of its own each time.
	RequestID string `json:"requestId,omitempty"`
	Who
	// Forbidden is why the withdrawal may not count whatever the device's state; nil where nothing forbids it.
	Forbidden *runbook.Refusal `json:"-"`
	// WrongMode refuses a withdrawal that asks to decommission the device where no Flight Control runs beside.
	WrongMode bool `json:"-"`
}

// Withdraw takes a device off the roll call (T5) if runbook.MayWithdraw allows it; otherwise the Refusal is kept in the
// audit. The device itself, where it still exists, stays as it is. One that has left the roll call already is answered
// with what ended its part.
func (s *Store) Withdraw(ctx context.Context, in WithdrawInput) (Transitioned, error) {
	t := target{in.RestoreID, in.OrgID, in.Name}
	return s.decideLocked(ctx, "withdraw", runbook.SignalWithdraw, t, in.RequestID,
		func(tx *sqlx.Tx, p position) (Transitioned, error) {
			r := record{Signal: runbook.SignalWithdraw, Actor: in.By, Reason: in.Reason, RequestID: p.RequestID, Who: in.Who}
			if refusal := p.fence(); refusal != nil {
				return p.refuse(ctx, tx, refusal, r)
			}
			if in.Forbidden != nil {
				return p.refuse(ctx, tx, in.Forbidden, r)
			}
			if !p.state().Open() {
				return p.ended(ctx, tx)
			}
			if in.WrongMode {
				return p.refuse(ctx, tx, runbook.Refuse(runbook.CodeWrongMode,
					"no Flight Control runs beside this restore that could decommission the device: withdraw it without that"), r)
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
