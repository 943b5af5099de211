package fake

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Annotations of devices, and of requests where the first is found on them, too.
const (
	awaitingReconnect  = "device-controller/awaitingReconnect"
	conflictPaused     = "device-controller/conflictPaused"
	renderedVersion    = "device-controller/renderedVersion"
	renderedSpecHash   = "device-controller/renderedSpecHash"
	templateVersion    = "fleet-controller/templateVersion"
	renderedTemplate   = "fleet-controller/renderedTemplateVersion"
	specValid          = "SpecValid" // a condition
	requestIDOfEvent   = "event-controller/requestID"
	infoAwaiting       = "Device has not reconnected since restore to confirm its current state."
	infoConflictPaused = "Device reconciliation is paused due to a state conflict between the service and the device's " +
		"agent; manual intervention is required."
)

// device is a row of devices.
type device struct {
	Org         string         `db:"org_id"`
	Name        string         `db:"name"`
	Owner       sql.NullString `db:"owner"`
	Labels      object         `db:"labels"`
	Annotations texts          `db:"annotations"`
	Version     int64          `db:"resource_version"`
	Generation  int64          `db:"generation"`
	Spec        object         `db:"spec"`
	Status      object         `db:"status"`
	// Service holds the conditions that the service sets, apart from the status, which its agent sends.
	Service object `db:"service_conditions"`
}

const deviceColumns = `org_id, name, owner, labels, annotations, coalesce(resource_version, 0) as resource_version,
	coalesce(generation, 0) as generation, spec, status, service_conditions`

// object is a column of JSON; texts is one of strings.
type (
	object map[string]any
	texts  map[string]string
)

// Scan reads a column.
func (o *object) Scan(src any) error { return scan(src, o) }

// Scan reads a column.
func (t *texts) Scan(src any) error { return scan(src, t) }

func scan(src, into any) error {
	raw, ok := src.([]byte)
	if !ok {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// encoded is a value for a column of JSON; nothing is NULL.
func encoded[M ~map[string]V, V any](m M) any {
	if m == nil {
		return nil
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // it was read from JSON
	}
	return string(raw)
}

// device reads a row; nil where there is none.
func (f *FlightControl) device(ctx context.Context, db sqlx.QueryerContext, org, name, lock string) (*device, error) {
	var d device
	err := sqlx.GetContext(ctx, db, &d,
		`select `+deviceColumns+` from devices where org_id = $1 and name = $2 and deleted_at is null `+lock, org, name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read device %s: %w", name, err)
	}
	return &d, nil
}

// within runs do in a transaction.
func (f *FlightControl) within(ctx context.Context, do func(tx *sqlx.Tx) error) error {
	tx, err := f.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// resource is the device as the API shows it.
func (d *device) resource() map[string]any {
	metadata := map[string]any{
		"name": d.Name, "labels": d.Labels, "annotations": d.Annotations, "resourceVersion": fmt.Sprint(d.Version),
		"generation": d.Generation,
	}
	if d.Owner.Valid {
		metadata["owner"] = d.Owner.String
	}
	return map[string]any{
		"apiVersion": apiVersion, "kind": "Device", "metadata": metadata, "spec": d.Spec, "status": d.Status,
	}
}

// part is an object within an object, made where it is missing.
func (o object) part(name string) map[string]any {
	inner, ok := o[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		o[name] = inner
	}
	return inner
}

// text is a string within an object within the object, or empty.
func (o object) text(outer, inner string) string {
	m, _ := o[outer].(map[string]any)
	s, _ := m[inner].(string)
	return s
}

func (f *FlightControl) getDevice(c call) {
	d, err := f.device(c.r.Context(), f.db, c.org, c.name(), "")
	switch {
	case err != nil:
		f.broken(c.w, err)
	case d == nil:
		notFound(c.w, "Device", c.name())
	default:
		reply(c.w, http.StatusOK, d.resource())
	}
}

// stringArray is an array of PostgreSQL.
type stringArray = pq.StringArray

// devices lists all of an organisation, with what selectors are about.
func (f *FlightControl) devices(c call) ([]device, error) {
	var all []device
	err := f.db.SelectContext(c.r.Context(), &all,
		`select name, owner, labels from devices where org_id = $1 and deleted_at is null`, c.org)
	return all, err
}
