package inventory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rollcall/runbook"
)

// DeviceStanding is where a device stands in the roll call: what a resume decides about, and what describe shows.
type DeviceStanding struct {
	OrgID string `json:"orgId"`
	Name  string `json:"name"`
	// Fleet is the name of the owning fleet, or empty.
	Fleet string `json:"fleet,omitempty"`
	// State is by the device's annotations; only a withdrawal, which leaves these alone, is by the roll.
	State    runbook.State `json:"state"`
	Restored string        `json:"restoredVersion"`
	// Reported is what the device has reported since the restore, empty if nothing. For a device on no running restore's
	// roll it is what its status says.
	Reported string `json:"reportedVersion"`
	// RestoreID is the running restore on whose roll the device is; empty where there is none, and then the fields below
	// are empty as well.
	RestoreID string `json:"restoreId,omitempty"`
	// Since is when the device came into State.
	Since *time.Time `json:"since,omitempty"`
	// LastSeenBefore is when the device was last seen before the restore; nil if never.
	LastSeenBefore *time.Time `json:"lastSeenBefore,omitempty"`
}

type standingRow struct {
	OrgID          string     `db:"org_id"`
	Name           string     `db:"name"`
	Owner          string     `db:"owner"`
	Annotations    []byte     `db:"annotations"`
	Current        string     `db:"current_version"`
	RestoreID      string     `db:"restore_id"`
	RollState      string     `db:"roll_state"`
	Reported       string     `db:"reported_version"`
	Since          *time.Time `db:"since"`
	LastSeenBefore *time.Time `db:"last_seen_before"`
}

// Standing reads where devices stand, ordered by name; the field selector of q is one for devices.
func (s *Store) Standing(ctx context.Context, q Query) ([]DeviceStanding, error) {
	c, err := q.conditions("devices")
	if err != nil {
		return nil, err
	}
	var rows []standingRow
	// Scopes of running restores do not overlap, so that a device is on one running roll at most; LIMIT 1 keeps a device
	// from showing twice even if that should ever fail.
	query := `select r.org_id, r.name, coalesce(r.owner, '') as owner, r.annotations,
  coalesce(r.status #>> '{config,renderedVersion}', '') as current_version,
  coalesce(roll.restore_id, '') as restore_id, coalesce(roll.state, '') as roll_state,
  coalesce(roll.reported_version, '') as reported_version, roll.since, roll.last_seen_before
from devices r
left join device_timestamps seen on seen.org_id = r.org_id and seen.name = r.name
left join lateral (
  select l.restore_id, l.state, l.reported_version, l.since, l.last_seen_before
  from rollcall.roll l join rollcall.restores t on t.id = l.restore_id
  where l.org_id = r.org_id and l.name = r.name and not l.superseded and t.state = 'Running'
  order by t.started_at desc limit 1) roll on true
where ` + c.where() + `
order by r.name` + q.limit(c)
	if err := s.db.SelectContext(ctx, &rows, query, c.args...); err != nil {
		return nil, fmt.Errorf("read where devices stand: %w", err)
	}
	return convert(rows, "where devices stand", standingRow.standing)
}

func (r standingRow) standing() (DeviceStanding, error) {
	annotations, err := decodeStrings(r.Annotations)
	if err != nil {
		return DeviceStanding{}, fmt.Errorf("annotations of %s: %w", r.Name, err)
	}
	d := DeviceStanding{
		OrgID: r.OrgID, Name: r.Name, Fleet: fleetOf(r.Owner),
		State:     runbook.StateOf(annotations),
		Restored:  annotations[runbook.AnnotationRenderedVersion],
		Reported:  r.Reported,
		RestoreID: r.RestoreID, Since: r.Since, LastSeenBefore: r.LastSeenBefore,
	}
	if r.RestoreID == "" {
		d.Reported = r.Current
	}
	if r.RollState == string(runbook.StateWithdrawn) {
		d.State = runbook.StateWithdrawn
	}
	return d, nil
}

// fleetOf is the name of the fleet that owns a device, or empty; owner is "Fleet/NAME" where a fleet does.
func fleetOf(owner string) string {
	name, found := strings.CutPrefix(owner, KindFleet+"/")
	if !found {
		return ""
	}
	return name
}
