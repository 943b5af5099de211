package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"rollcall/runbook"
)

// importTables are the tables of the kinds.
var importTables = map[string]string{
	KindDevice:            `devices`,
	KindFleet:             `fleets`,
	KindEnrollmentRequest: `enrollment_requests`,
}

// insertRecords inserts the resources of a JSON list, but for those that there are, and returns the names of the others. It
// takes the table, and an extra column with a comma before it.
const insertRecords = `
insert into %s (org_id, name, owner, labels, annotations, generation, resource_version, created_at, updated_at, deleted_at,
    spec, status%s)
select $1::uuid, name, owner, labels, annotations, generation, resource_version, coalesce(created_at, now()), now(), deleted_at,
    spec, status%[2]s
from json_to_recordset($2::json) as r(name text, owner text, labels jsonb, annotations jsonb, generation bigint,
    resource_version bigint, created_at timestamptz, deleted_at timestamptz, spec jsonb, status jsonb, alias text)
on conflict (org_id, name) do nothing
returning name`

// insert inserts records of one kind. One that is there already is counted as skipped or is an error.
func (w *importWriter) insert(ctx context.Context, kind string, records []importRecord) error {
	text, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("write the resources in JSON: %w", err)
	}
	extra := ""
	if kind == KindDevice {
		extra = ", alias"
	}
	var inserted []string
	query := fmt.Sprintf(insertRecords, importTables[kind], extra)
	if err := w.tx.SelectContext(ctx, &inserted, query, w.opts.OrgID, string(text)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if len(inserted) < len(records) && !w.opts.SkipExisting {
		return w.exists(records, inserted)
	}
	if kind == KindDevice {
		if err := w.insertLastSeen(ctx, records, inserted); err != nil {
			return err
		}
	}
	w.count(kind, len(inserted), len(records)-len(inserted))
	return nil
}

// exists names the first of records that was not inserted.
func (w *importWriter) exists(records []importRecord, inserted []string) error {
	slices.Sort(inserted)
	for _, r := range records {
		if _, found := slices.BinarySearch(inserted, r.Name); !found {
			return fmt.Errorf("%s: metadata.name: exists already in organisation %s", r.where, runbook.OrgName(w.opts.OrgID))
		}
	}
	return errors.New("store: the database inserted less than it was given")
}

// insertLastSeen stores when the inserted devices were last seen. A trigger has made the rows already, or will not.
func (w *importWriter) insertLastSeen(ctx context.Context, records []importRecord, inserted []string) error {
	type lastSeen struct {
		Name     string     `json:"name"`
		LastSeen *time.Time `json:"last_seen"`
	}
	var seen []lastSeen
	for _, r := range records {
		if r.LastSeen != nil {
			seen = append(seen, lastSeen{r.Name, r.LastSeen})
		}
	}
	if len(seen) == 0 {
		return nil
	}
	text, err := json.Marshal(seen)
	if err != nil {
		return fmt.Errorf("write the resources in JSON: %w", err)
	}
	_, err = w.tx.ExecContext(ctx, `
insert into device_timestamps (org_id, name, last_seen)
select $1::uuid, name, last_seen from json_to_recordset($2::json) as r(name text, last_seen timestamptz)
where name = any($3::text[])
on conflict (org_id, name) do update set last_seen = excluded.last_seen`, w.opts.OrgID, string(text), pq.Array(inserted))
	if err != nil {
		return fmt.Errorf("store when devices were last seen: %w", err)
	}
	return nil
}

func (w *importWriter) count(kind string, inserted, skipped int) {
	switch kind {
	case KindDevice:
		w.result.Devices += inserted
	case KindFleet:
		w.result.Fleets += inserted
	case KindEnrollmentRequest:
		w.result.EnrollmentRequests += inserted
	}
	w.result.Skipped += skipped
}
