package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// position is where a device stands, its rows locked: nothing moves it until the transaction ends.
type position struct {
	target
	// RequestID is the id to record the request under.
	RequestID string
	// Exists, Deleted, Lifecycle, DeviceState, Annotated and Running are the device's; Annotated is the restored version
	// as the device holds it, Running the version that its status says it runs, and DeviceState is by its annotations.
	Exists      bool
	Deleted     bool          `db:"deleted"`
	Lifecycle   string        `db:"lifecycle"`
	DeviceState runbook.State `db:"device_state"`
	Annotated   string        `db:"annotated"`
	Running     string        `db:"running"`
	// Configured reports whether the status has a config, without which nothing is known of what the device runs.
	Configured bool `db:"configured"`
	// The rest is the roll's and the restore's.
	OnRoll        bool
	RollState     runbook.State        `db:"roll_state"`
	Superseded    bool                 `db:"superseded"`
	Restored      string               `db:"restored"`
	Reported      string               `db:"reported"`
	Next          string               `db:"next"`
	Since         time.Time            `db:"since"`
	ResumedBy     string               `db:"resumed_by"`
	ResumedReason string               `db:"resumed_reason"`
	RestoreState  runbook.RestoreState `db:"restore_state"`
	SupersededBy  string               `db:"superseded_by"`
	Mode          runbook.Mode         `db:"mode"`
	// DecidedVersion and what follows are of a human's resume that Flight Control carries out; see Store.Decisions.
	DecidedVersion string   `db:"decided_version"`
	RenderedBefore string   `db:"rendered_before"`
	Asked          *float64 `db:"asked"`
	SentID         string   `db:"sent_id"`
	Repairs        int      `db:"repairs"`
	// Changed reports that the device's spec was changed while it waited, and not rendered since; see specChanged.
	Changed bool `db:"changed"`
	Theirs  bool `db:"theirs"`
}

const lockDevice = `
select d.deleted_at is not null as deleted, coalesce(d.status -> 'lifecycle' ->> 'status', '') as lifecycle,
    rollcall.device_state(d.annotations) as device_state, coalesce(d.annotations ->> $3, '') as annotated,
    coalesce(d.status -> 'config' ->> 'renderedVersion', '') as running,
    d.status -> 'config' ->> 'renderedVersion' is not null as configured
from devices d where d.org_id = $1 and d.name = $2
for no key update`

const lockEntry = `
select r.state as roll_state, r.superseded, r.restored_version as restored, coalesce(r.reported_version,
'') as reported,
    coalesce(r.next_version, '') as next, r.since, coalesce(r.resumed_by, '') as resumed_by,
    coalesce(r.resumed_reason, '') as resumed_reason, s.state as restore_state, coalesce(s.superseded_by,
    '') as superseded_by, s.mode,
    ` + decisionColumns + `
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id
where r.restore_id = $1 and r.org_id = $2 and r.name = $3
for no key update of r`

// lock locks a device and its row on the roll, in the order of every transition, and reads where it stands. Either may
// be missing.
func lock(ctx context.Context, tx *sqlx.Tx, t target) (position, error) {
	p := position{target: t}
	err := tx.GetContext(ctx, &p, lockDevice, t.OrgID, t.Name, runbook.AnnotationRenderedVersion)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return p, fmt.Errorf("lock the device: %w", err)
	}
	p.Exists = err == nil
	err = tx.GetContext(ctx, &p, lockEntry, t.RestoreID, t.OrgID, t.Name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return p, fmt.Errorf("lock its row on the roll: %w", err)
	}
	p.OnRoll = err == nil
	p.Since = p.Since.UTC()
	return p, nil
}

// state is where the device stands; one that is not there stands as the roll says.
func (p position) state() runbook.State {
	if !p.Exists {
		return p.RollState
	}
	return p.RollState.OnRoll(p.DeviceState)
}

// restored is the restored version to decide on: the annotation, or what the roll knows of a device that is gone.
func (p position) restored() string {
	if p.Exists {
		return p.Annotated
	}
	return p.Restored
}

// gone reports whether the device has left the inventory or is on its way out (T5).
func (p position) gone() bool {
	return runbook.MayWithdraw(p.Exists, p.Deleted, p.Lifecycle, false) == nil
}

// fence refuses what comes too late: nothing of a restore that no longer runs, or whose device a newer one has put on
// its roll, may act any more (T6).
func (p position) fence() *runbook.Refusal {
	switch {
	case !p.OnRoll:
		return runbook.Refuse(runbook.CodeNoRollCall, "device %s is not on the roll of restore %s", p.Name, p.RestoreID)
	case p.Superseded, p.RestoreState == runbook.RestoreSuperseded:
		return runbook.Refuse(runbook.CodeSuperseded, "restore %s has been superseded%s; the device answers to the newer one",
			p.RestoreID, byRestore(p.SupersededBy))
	case p.RestoreState != runbook.RestoreRunning && p.RollState.Open():
		return runbook.Refuse(runbook.CodeSuperseded, "restore %s is %s; nothing of it may act any more", p.RestoreID,
			p.RestoreState)
	}
	return nil
}

func byRestore(id string) string {
	if id == "" {
		return ""
	}
	return " by restore " + id
}

// stands is the answer where nothing was done.
func (p position) stands() Transitioned {
	return Transitioned{State: p.state(), Restored: p.restored(), Reported: p.Reported, Next: p.Next, At: p.Since}
}

// decideLocked runs decide on a device's locked rows in one transaction, unless the request was answered before: then
// that answer is given again. verb names the attempt in errors, signal the kind of
// message.
func (s *Store) decideLocked(
	ctx context.Context, verb, signal string, t target, requestID string,
	decide func(*sqlx.Tx, position) (Transitioned, error),
) (Transitioned, error) {
	// Before the transaction, which holds a connection: many at once could leave none to prepare it on.
	if _, err := s.prepareApply(ctx); err != nil {
		return Transitioned{}, fmt.Errorf("%s device %s: %w", verb, t.Name, err)
	}
	result, err := s.decideOnce(ctx, t, signal, requestID, decide)
	if errors.Is(err, errRestoreEnded) {
		result, err = s.decideOnce(ctx, t, signal, requestID, decide) // which finds it ended from the start, and refuses
	}
	if err != nil {
		return Transitioned{}, fmt.Errorf("%s device %s: %w", verb, t.Name, err)
	}
	return result, nil
}

// errRestoreEnded is a restore that ended after a transition had read that it runs: its row is not locked.
var errRestoreEnded = errors.New("its restore has ended meanwhile")

func (s *Store) decideOnce(
	ctx context.Context, t target, signal, requestID string, decide func(*sqlx.Tx, position) (Transitioned, error),
) (result Transitioned, err error) {
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		p, err := lock(ctx, tx, t)
		if err != nil {
			return err
		}
		// After the locks, so that an attempt under way has ended.
		first, id, err := readRequest(ctx, tx, t, signal, requestID)
		if err != nil {
			return err
		}
		p.RequestID = id
		if first != nil {
			result, err = p.answered(ctx, tx, *first)
			return err
		}
		result, err = decide(tx, p)
		return err
	})
	return result, err
}

// applyAt carries out c on a device whose rows are locked, so that it cannot but hold what c expects.
func (s *Store) applyAt(ctx context.Context, tx *sqlx.Tx, p position, c change) (Transitioned, error) {
	c.FromRoll, c.FromDevice, c.From = p.RollState, p.DeviceState, p.state()
	at, ok, err := s.applyIn(ctx, tx, c)
	if err != nil {
		return Transitioned{}, err
	}
	if !ok {
		return Transitioned{}, fmt.Errorf("write transition %s: %w", c.Transition, errRestoreEnded)
	}
	return c.result(at), nil
}

// refuse answers no, and keeps that in the audit.
func (p position) refuse(ctx context.Context, tx *sqlx.Tx, refusal *runbook.Refusal, r record) (Transitioned, error) {
	r.target, r.Transition, r.From, r.To, r.Restored = p.target, runbook.Refused, p.state(), p.state(), p.restored()
	r.Code, r.Message = refusal.Code, refusal.Message
	if err := r.write(ctx, tx); err != nil {
		return Transitioned{}, err
	}
	return p.refused(refusal), nil
}

// refused is the answer no: where the device stands, and, where another's decision won, whose that was.
func (p position) refused(refusal *runbook.Refusal) Transitioned {
	t := p.stands()
	t.Transition, t.Refusal = runbook.Refused, refusal
	if refusal.Code == runbook.CodeAlreadyResumed {
		t.By, t.Reason = p.ResumedBy, p.ResumedReason
	}
	return t
}

// answered is the answer to a request that was answered before, with where the device stands by now. Where the restore
// may no longer act, Now repeats the first answer.
func (p position) answered(ctx context.Context, tx *sqlx.Tx, first record) (Transitioned, error) {
	if first.Code != "" {
		return p.refused(&runbook.Refusal{Code: first.Code, Message: first.Message}), nil
	}
	t := first.result(true)
	now := t
	switch {
	case p.fence() != nil:
	case p.RollState.Open():
		now = p.stands()
	default:
		var err error
		if now, err = p.ended(ctx, tx); err != nil {
			return Transitioned{}, err
		}
	}
	t.Now = &Standing{
		State: now.State, Restored: now.Restored, Reported: now.Reported, Next: now.Next, At: now.At, By: now.By,
		Reason: now.Reason,
	}
	return t, nil
}

// ended is the answer for a device that has left the roll call: what ended its part, and that nothing was done now.
func (p position) ended(ctx context.Context, tx *sqlx.Tx) (Transitioned, error) {
	ending, err := readEnding(ctx, tx, p.target)
	if err != nil {
		return Transitioned{}, err
	}
	if ending == nil {
		return p.stands(), nil
	}
	return ending.result(false), nil
}
