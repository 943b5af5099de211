package inventory

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

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
}

// Resume carries out a resume (T4) if it counts, which runbook.MayResume says of the rows as they are once they are
// locked: of two at the same time one wins, and the other's Refusal names who did. Every refusal is kept in the audit. A
// device that was deleted or decommissioned meanwhile is withdrawn instead (T5), and the resume refused.
func (s *Store) Resume(ctx context.Context, in ResumeInput) (Transitioned, error) {
	t := target{in.RestoreID, in.OrgID, in.Name}
	return s.settle(ctx, "resume", t, in.RequestID, func(tx *sqlx.Tx, p position) (Transitioned, error) {
		return s.resume(ctx, tx, in, p)
	})
}

func (s *Store) resume(ctx context.Context, tx *sqlx.Tx, in ResumeInput, p position) (Transitioned, error) {
	no := record{Signal: runbook.SignalResume, Reported: in.ExpectVersion, Actor: in.By, Reason: in.Reason, RequestID: in.RequestID}
	if refusal := p.fence(); refusal != nil {
		return p.refuse(ctx, tx, refusal, no)
	}
	if p.state().Open() && p.gone() {
		return p.resumeGone(ctx, tx, no)
	}
	if err := (runbook.ResumeRequest{By: in.By, ExpectVersion: in.ExpectVersion}).Check(); err != nil {
		return p.refuse(ctx, tx, runbook.AsRefusal(err), no)
	}
	conflict := runbook.Conflict{State: p.state(), Restored: p.restored(), Reported: p.Reported, ResumedBy: p.ResumedBy}
	next, err := runbook.MayResume(conflict, in.ExpectVersion)
	if err != nil {
		return p.refuse(ctx, tx, runbook.AsRefusal(err), no)
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
		Signal:  runbook.SignalResume, Actor: in.By, Reason: in.Reason, RequestID: in.RequestID,
	}
	message := fmt.Sprintf("Resumed by %s: reported version %s, restored version %q, next version %s", in.By, conflict.Reported, conflict.Restored, next)
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
	return p.refuse(ctx, tx, runbook.Refuse(runbook.CodeNotWaiting, "%s; it has been withdrawn from the roll call and there is nothing to resume", p.goneReason()), no)
}
