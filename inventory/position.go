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
	// Exists, Deleted, Lifecycle, DeviceState, Annotated and Running are the device's; Annotated is the restored version as
	// the device holds it, Running the version that its status says it runs, and DeviceState is by its annotations.
	Exists      bool
	Deleted     bool          `db:"deleted"`
	Lifecycle   string        `db:"lifecycle"`
	DeviceState runbook.State `db:"device_state"`
	Annotated   string        `db:"annotated"`
	Running     string        `db:"running"`
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
}

const lockDevice = `
select d.deleted_at is not null as deleted, coalesce(d.status -> 'lifecycle' ->> 'status', '') as lifecycle,
    rollcall.device_state(d.annotations) as device_state, coalesce(d.annotations ->> $3, '') as annotated,
    coalesce(d.status -> 'config' ->> 'renderedVersion', '') as running
from devices d where d.org_id = $1 and d.name = $2
for no key update`

const lockEntry = `
select r.state as roll_state, r.superseded, r.restored_version as restored, coalesce(r.reported_version, '') as reported,
    coalesce(r.next_version, '') as next, r.since, coalesce(r.resumed_by, '') as resumed_by,
    coalesce(r.resumed_reason, '') as resumed_reason, s.state as restore_state, coalesce(s.superseded_by, '') as superseded_by
from rollcall.roll r join rollcall.restores s on s.id = r.restore_id
where r.restore_id = $1 and r.org_id = $2 and r.name = $3
for no key update of r`

// lock locks a device and its row on the roll, in the order of every transition, and reads where it stands. Either may be
// missing.
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

// state is where the device stands. Its annotations count while it waits, as they are what Flight Control goes by; where
// they say that it is normal but nothing on the roll let it out, another hand took them away, and the roll counts.
func (p position) state() runbook.State {
	if p.Exists && p.RollState.Open() && p.DeviceState.Open() {
		return p.DeviceState
	}
	return p.RollState
}

// restored is the restored version to decide on: the annotation, or what the roll knows of a device that is gone.
func (p position) restored() string {
	if p.Exists {
		return p.Annotated
	}
	return p.Restored
}

// gone tells whether the device has left the inventory or is on its way out (T5).
func (p position) gone() bool {
	return runbook.MayWithdraw(p.Exists, p.Deleted, p.Lifecycle, false) == nil
}

// fence refuses what comes too late: nothing of a restore that no longer runs, or whose device a newer one has put on its
// roll, may act any more (T6).
func (p position) fence() *runbook.Refusal {
	switch {
	case !p.OnRoll:
		return runbook.Refuse(runbook.CodeNoRollCall, "device %s is not on the roll of restore %s", p.Name, p.RestoreID)
	case p.Superseded, p.RestoreState == runbook.RestoreSuperseded:
		return runbook.Refuse(runbook.CodeSuperseded, "restore %s has been superseded%s; the device answers to the newer one", p.RestoreID, byRestore(p.SupersededBy))
	case p.RestoreState != runbook.RestoreRunning && p.RollState.Open():
		return runbook.Refuse(runbook.CodeSuperseded, "restore %s is %s; nothing of it may act any more", p.RestoreID, p.RestoreState)
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
