package fake

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/lib/pq"

	"rollcall/internal/authority"
)

// request is a row of enrollment_requests.
type request struct {
	Org         string `db:"org_id"`
	Name        string `db:"name"`
	Annotations texts  `db:"annotations"`
	Spec        object `db:"spec"`
	Status      object `db:"status"`
}

// request reads a row; nil where there is none.
func (f *FlightControl) request(ctx context.Context, org, name string) (*request, error) {
	var r request
	err := f.db.GetContext(ctx, &r, `select org_id, name, annotations, spec, status from enrollment_requests
		where org_id = $1 and name = $2 and deleted_at is null`, org, name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if r.Status == nil {
		r.Status = object{}
	}
	if r.Status["conditions"] == nil {
		r.Status["conditions"] = []any{}
	}
	return &r, err
}

func (r *request) resource() map[string]any {
	return map[string]any{
		"apiVersion": apiVersion, "kind": "EnrollmentRequest",
		"metadata": map[string]any{"name": r.Name, "annotations": r.Annotations},
		"spec":     r.Spec, "status": r.Status,
	}
}

func (f *FlightControl) getRequest(c call) {
	r, err := f.request(c.r.Context(), c.org, c.name())
	switch {
	case err != nil:
		f.broken(c.w, err)
	case r == nil:
		notFound(c.w, "EnrollmentRequest", c.name())
	default:
		reply(c.w, http.StatusOK, r.resource())
	}
}

// postRequest takes an enrollment request. One that names a version which is not empty or "0" is annotated.
func (f *FlightControl) postRequest(c call) {
	var sent struct {
		Metadata struct {
			Name   string
			Labels texts
		}
		Spec object
	}
	raw, err := io.ReadAll(c.r.Body)
	if err == nil {
		err = json.Unmarshal(raw, &sent)
	}
	if err == nil {
		err = signable(sent.Spec, sent.Metadata.Name)
	}
	if err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	annotations := texts{}
	if version, _ := sent.Spec["knownRenderedVersion"].(string); version != "" && version != "0" {
		annotations[awaitingReconnect] = "true"
	}
	_, err = f.db.ExecContext(c.r.Context(),
		`insert into enrollment_requests (org_id, name, labels, annotations, generation, resource_version,
		created_at, updated_at, spec, status) values ($1, $2, $3, $4, 1, 1, now(), now(), $5, '{"conditions": []}')`,
		c.org, sent.Metadata.Name, encoded(sent.Metadata.Labels), encoded(annotations), encoded(sent.Spec))
	if isDuplicate(err) {
		fail(c.w, http.StatusConflict, "Conflict", "a resource with this name already exists")
		return
	}
	if err != nil {
		f.broken(c.w, err)
		return
	}
	reply(c.w, http.StatusCreated, map[string]any{
		"apiVersion": apiVersion, "kind": "EnrollmentRequest", "metadata": map[string]any{"name": sent.Metadata.Name},
		"spec": sent.Spec, "status": map[string]any{"conditions": []any{}},
	})
}

func signable(spec object, name string) error {
	text, _ := spec["csr"].(string)
	csr, err := authority.ReadRequest(text)
	if err != nil {
		return fmt.Errorf("spec.csr: %w", err)
	}
	if csr.CommonName() != name {
		return fmt.Errorf("spec.csr asks for %q", csr.CommonName())
	}
	return nil
}

func isDuplicate(err error) bool {
	var e *pq.Error
	return errors.As(err, &e) && e.Code == "23505"
}

// approved reports whether a request has the condition.
func (r *request) approved() bool {
	all, _ := r.Status["conditions"].([]any)
	for _, entry := range all {
		c, _ := entry.(map[string]any)
		if c["type"] == "Approved" && c["status"] == "True" {
			return true
		}
	}
	return false
}

// certificateLifetime is that of an agent's certificate.
const certificateLifetime = 365 * 24 * time.Hour
