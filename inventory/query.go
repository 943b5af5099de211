package inventory

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"
	"k8s.io/apimachinery/pkg/labels"

	"rollcall/inventory/selector"
	"rollcall/runbook"
)

// Query says which resources to read. All that it says must hold; its zero value is all of the default organisation's.
// Deleted resources are never read.
type Query struct {
	// OrgID is the organisation's UUID; empty is the default organisation.
	OrgID string
	// Names limits the answer to these names; a name that there is not is no error. Empty is all names.
	Names []string
	// Labels is a Kubernetes label selector; nil is everything.
	Labels labels.Selector
	// Fields is a field selector made for the kind that is read; its zero value is everything.
	Fields selector.FieldSelector
	// Brief leaves out of devices what a table of them does not show: spec, annotations, and all of the status but
	// summary, updated, applicationsSummary and lastSeen. Other kinds are read whole.
	Brief bool
	// Limit is how many to read at most, the first ones of the order; 0 and less is no limit.
	Limit int
	// After reads on behind the resource of this name; of events it is the one made at AfterTime. Empty is from the start.
	After     string
	AfterTime time.Time
}

// Devices reads devices, ordered by name.
func (s *Store) Devices(ctx context.Context, q Query) ([]Resource, error) {
	return s.resources(ctx, KindDevice, "devices", q)
}

// Fleets reads fleets, ordered by name.
func (s *Store) Fleets(ctx context.Context, q Query) ([]Resource, error) {
	return s.resources(ctx, KindFleet, "fleets", q)
}

// EnrollmentRequests reads enrollment requests, ordered by name.
func (s *Store) EnrollmentRequests(ctx context.Context, q Query) ([]Resource, error) {
	return s.resources(ctx, KindEnrollmentRequest, "enrollmentrequests", q)
}

// Events reads events, the newest first.
func (s *Store) Events(ctx context.Context, q Query) ([]Event, error) {
	c, err := q.conditions("events")
	if err != nil {
		return nil, err
	}
	var rows []eventRow
	query := `select ` + commonColumns + `, coalesce(r.reason, '') as reason,
  coalesce(r.source_component, '') as component, coalesce(r.actor, '') as actor, coalesce(r.type, '') as type,
  coalesce(r.message, '') as message, r.details, coalesce(r.involved_object_kind, '') as involved_kind,
  coalesce(r.involved_object_name, '') as involved_name
from events r
where ` + c.Where() + `
order by r.created_at desc, r.name` + q.limit(c)
	if err := s.db.SelectContext(ctx, &rows, query, c.Args...); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return convert(rows, "events", eventRow.event)
}

// resources reads one of the kinds that have a spec and a status; table is the word by which field selectors know it.
func (s *Store) resources(ctx context.Context, kind, table string, q Query) ([]Resource, error) {
	c, err := q.conditions(table)
	if err != nil {
		return nil, err
	}
	var rows []resourceRow
	from := commonColumns + `, r.spec, ` + sources[kind]
	if q.Brief && kind == KindDevice {
		from = briefDevices
	}
	if kind == KindDevice {
		from += q.seen()
	}
	query := `select ` + from + `
where ` + c.Where() + `
order by r.name` + q.limit(c)
	if err := s.db.SelectContext(ctx, &rows, query, c.Args...); err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	return convert(rows, table, func(r resourceRow) (Resource, error) { return r.resource(kind) })
}

// sources are what a kind is read from, with what it adds to the common columns.
var sources = map[string]string{
	// The one lastSeen that counts is that of device_timestamps: a restore clears it there.
	KindDevice: `case when jsonb_typeof(r.status) = 'object' then r.status - 'lastSeen' else r.status end as status,
  seen.last_seen
from devices r`,
	KindFleet: `r.status
from fleets r`,
	KindEnrollmentRequest: `r.status
from enrollment_requests r`,
}

// briefDevices is what is read of devices for a table. A status is stored compressed, and is taken out once
// (applyChange).
const briefDevices = `r.org_id, r.name, coalesce(r.owner, '') as owner, r.labels,
  coalesce(r.generation, 0) as generation, coalesce(r.resource_version, 0) as resource_version, r.created_at,
  jsonb_build_object('summary', whole.status -> 'summary', 'updated', whole.status -> 'updated',
    'applicationsSummary', whole.status -> 'applicationsSummary') as status,
  seen.last_seen
from devices r
cross join lateral (select r.status || '{}' as status offset 0) whole`

// seen adds when devices were last seen. Where some are selected it is looked up for each that is found: the planner
// would rather read the whole of the table for a thousand of them, which takes longer. For all of them it is right.
func (q Query) seen() string {
	all := len(q.Names) == 0 && (q.Labels == nil || q.Labels.Empty()) && q.Fields.Empty()
	if all {
		return `
left join device_timestamps seen on seen.org_id = r.org_id and seen.name = r.name`
	}
	return `
left join lateral (select t.last_seen from device_timestamps t where t.org_id = r.org_id
and t.name = r.name offset 0) seen on true`
}

// conditions are the terms that q asks for, on the tables of kind.
func (q Query) conditions(kind string) (*selector.Conditions, error) {
	if q.Fields.Kind() != "" && q.Fields.Kind() != kind {
		return nil, fmt.Errorf("read %s: the field selector %q is one for %s", kind, q.Fields, q.Fields.Kind())
	}
	c := &selector.Conditions{}
	orgID := q.OrgID
	if orgID == "" {
		orgID = runbook.DefaultOrgID
	}
	c.Org = c.Arg(orgID)
	c.Add("r.org_id = " + c.Org)
	c.Add("r.deleted_at is null")
	if len(q.Names) > 0 {
		c.Add("r.name = any(" + c.Arg(pq.Array(q.Names)) + ")")
	}
	switch {
	case q.After == "":
	case kind == "events":
		at := c.Arg(q.AfterTime)
		c.Add("(r.created_at < " + at + " or r.created_at = " + at + " and r.name > " + c.Arg(q.After) + ")")
	default:
		c.Add("r.name > " + c.Arg(q.After))
	}
	c.AddLabels("r.labels", q.Labels)
	if err := c.AddFields(q.Fields); err != nil {
		return nil, err
	}
	return c, nil
}

func (q Query) limit(c *selector.Conditions) string {
	if q.Limit <= 0 {
		return ""
	}
	return "\nLIMIT " + c.Arg(q.Limit)
}

// convert makes the API form of each row, which fails where the stored JSON is not of its form.
func convert[R, T any](rows []R, what string, form func(R) (T, error)) ([]T, error) {
	items := make([]T, len(rows))
	for i, row := range rows {
		item, err := form(row)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		items[i] = item
	}
	return items, nil
}
