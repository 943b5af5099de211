package invariants

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"rollcall/inventory"
	"rollcall/runbook"
)

// auditRow is an entry of the audit.
type auditRow struct {
	deviceRow
	ID         int64              `db:"id"`
	Transition runbook.Transition `db:"transition"`
	To         runbook.State      `db:"to_state"`
	Restored   string             `db:"restored_version"`
	Reported   string             `db:"reported_version"`
	Next       string             `db:"next_version"`
	Actor      string             `db:"actor"`
	// Beside reports whether the restore runs beside Flight Control.
	Beside bool `db:"beside"`
}

// Refused entries move nothing. An approval or denial of a request is no transition of a device, nor is that Flight
// Control was to be asked for one, which is Decided as a resume is.
const selectAudit = `
select t.id, t.restore_id, t.org_id, t.name, t.transition, t.to_state, t.restored_version, t.reported_version,
t.next_version,
    t.actor, coalesce(s.mode = 'flightctl', false) as beside
from rollcall.transitions t left join rollcall.restores s on s.id = t.restore_id
where t.transition not in ('Refused', 'Approved', 'Denied', 'Deleted', 'Acted')
    and not (t.transition = 'Decided' and t.signal = 'approve')
order by t.org_id, t.name, t.id`

// checkAudit walks through the audit of each device in the order in which it was written.
func checkAudit(ctx context.Context, tx *sqlx.Tx) ([]Violation, error) {
	rows, err := tx.QueryxContext(ctx, selectAudit)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	defer rows.Close()
	var found []Violation
	var story story
	for rows.Next() {
		var r auditRow
		if err := rows.StructScan(&r); err != nil {
			return nil, fmt.Errorf("read the audit: %w", err)
		}
		if r.OrgID != story.orgID || r.Name != story.name {
			story = newStory(r)
		}
		found = append(found, story.next(r)...)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return found, nil
}

// story is what has happened to one device so far, over all restores.
type story struct {
	orgID, name string
	// states are the device's states by restore, and restored the versions that T1 found.
	states   map[string]runbook.State
	restored map[string]string
	// current is the restore that put the device on its roll last.
	current string
}

func newStory(r auditRow) story {
	return story{orgID: r.OrgID, name: r.Name, states: map[string]runbook.State{}, restored: map[string]string{}}
}

// next adds an entry to the story and returns what is wrong with it.
func (s *story) next(r auditRow) []Violation {
	var found []Violation
	if r.Transition == runbook.T1 {
		s.current = r.RestoreID
	} else if s.current != "" && r.RestoreID != s.current {
		v := r.violation(OneCurrentRestore, "%s of restore %s after restore %s had put the device on its roll",
			r.Transition, r.RestoreID, s.current)
		v.Entry = r.ID
		found = append(found, v)
	}
	if wrong := runbook.CheckStep(s.states[r.RestoreID], r.step()); wrong != "" {
		v := r.violation(invariantOf(r.Transition), "%s", wrong)
		v.Entry = r.ID
		found = append(found, v)
	}
	found = append(found, s.rendered(r)...)
	s.states[r.RestoreID] = r.To
	return found
}

// rendered returns a violation where another version was restored than T1 has found: the device was rendered while it
// waited or was paused. The row of the roll has the newest version alone.
func (s *story) rendered(r auditRow) []Violation {
	was, known := s.restored[r.RestoreID]
	switch r.Transition {
	case runbook.T1:
		s.restored[r.RestoreID] = r.Restored
		return nil
	case runbook.T2, runbook.T3, runbook.T4, runbook.Reported:
	default: // a withdrawal reads the version of a device that Flight Control may have rendered by then
		return nil
	}
	if !known || was == r.Restored {
		return nil
	}
	s.restored[r.RestoreID] = r.Restored
	v := r.violation(NothingRendered, "the device was %s, and its rendered version went from %q to %q",
		s.states[r.RestoreID], was, r.Restored)
	v.Entry = r.ID
	return []Violation{v}
}

func (r auditRow) step() runbook.Step {
	return runbook.Step{
		Transition: r.Transition, To: r.To, Restored: r.Restored, Reported: r.Reported, Next: r.Next, Actor: r.Actor,
		Beside:   r.Beside,
		Followed: r.Actor == inventory.ActorFlightctl,
		Human:    r.Actor != "" && r.Actor != runbook.ActorAgent && !strings.HasPrefix(r.Actor, "service:"),
	}
}

func invariantOf(t runbook.Transition) string {
	if t == runbook.T4 {
		return OneDecision
	}
	return TableOfTransitions
}
