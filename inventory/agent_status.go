package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lib/pq"

	"rollcall/runbook"
)

// putStatus replaces a device's status by its agent's, but for what is the service's own: lifecycle and updated always;
// summary and the version that it runs while it is paused, as a resume renders past what the roll call knows; summary
// while it awaits its reconnect. An agent's summary that claims such a state is not the agent's to claim. What decides is
// the row as it is once it is locked, so that a report that overtakes this one is not undone.
const putStatus = `
with changed as (
    update devices d set
        status = (cast(:status as jsonb) - array['lifecycle', 'updated', 'lastSeen'])
            || case when d.status -> 'lifecycle' is not null
                then jsonb_build_object('lifecycle', d.status -> 'lifecycle') else cast('{}' as jsonb) end
            || jsonb_build_object('updated', rollcall.object(d.status -> 'updated') || case
                when rollcall.device_state(d.annotations) <> 'Normal' or cast(:reported as text) is null then cast('{}' as jsonb)
                when coalesce(nullif(:reported, ''), '0') = coalesce(nullif(d.annotations ->> cast(:version_key as text), ''), '0')
                    then jsonb_build_object('status', cast(:up_to_date as text))
                else jsonb_build_object('status', cast(:out_of_date as text)) end)
            || case when d.status -> 'summary' is not null and (rollcall.device_state(d.annotations) <> 'Normal'
                    or coalesce(cast(:status as jsonb) #>> '{summary,status}', '') in ('', 'AwaitingReconnect', 'ConflictPaused'))
                then jsonb_build_object('summary', d.status -> 'summary') else cast('{}' as jsonb) end
            || case when rollcall.device_state(d.annotations) = 'ConflictPaused'
                then jsonb_build_object('config', rollcall.object(cast(:status as jsonb) -> 'config')
                    || jsonb_build_object('renderedVersion', coalesce(d.status #>> '{config,renderedVersion}', '')))
                else cast('{}' as jsonb) end,
        resource_version = coalesce(d.resource_version, 0) + 1,
        updated_at = now()
    where d.org_id = cast(:org_id as uuid) and d.name = :name and d.deleted_at is null
    returning d.*
), seen as (
    insert into device_timestamps (org_id, name, last_seen)
    select org_id, name, now() from changed
    on conflict (org_id, name) do update set last_seen = excluded.last_seen
)
select ` + commonColumns + `, r.spec, r.status, now() as last_seen from changed r`

// PutStatus stores the status that a device's agent reports, a JSON object, and when it was seen. reported is
// status.config.renderedVersion, nil where the agent does not say. found is false only where the database has said that
// there is no such device. A status that PostgreSQL cannot hold (a NUL, a number beyond all bounds) is a *Refusal with
// CodeInvalidRequest.
func (s *Store) PutStatus(ctx context.Context, orgID, name string, status json.RawMessage, reported *string) (device Resource, found bool, err error) {
	stmt, err := s.prepare(ctx, putStatus)
	if err != nil {
		return Resource{}, false, err
	}
	var row resourceRow
	err = stmt.GetContext(ctx, &row, struct {
		agentKeys
		Status    string  `db:"status"`
		Reported  *string `db:"reported"`
		UpToDate  string  `db:"up_to_date"`
		OutOfDate string  `db:"out_of_date"`
	}{keysOf(orgID, name), string(status), reported, runbook.UpdatedUpToDate, runbook.UpdatedOutOfDate})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Resource{}, false, nil
	case unstorable(err):
		return Resource{}, false, runbook.Refuse(runbook.CodeInvalidRequest, "the status cannot be stored: %v", err)
	case err == nil:
		device, err = row.resource(KindDevice)
	}
	if err != nil {
		return Resource{}, false, fmt.Errorf("store the status of device %s: %w", name, err)
	}
	return device, true, nil
}

// unstorable tells whether PostgreSQL complains about the data: classes "data exception" and "program limit exceeded".
func unstorable(err error) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && (strings.HasPrefix(string(pqErr.Code), "22") || strings.HasPrefix(string(pqErr.Code), "54"))
}
