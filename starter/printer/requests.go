package printer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// annotationKey tells in the JSON and YAML of an enrollment request how its key compares with the one known of its
// name. It is worked out at each look and stored nowhere.
const annotationKey = "rollcall/key"

// annotationUnsignable tells there why no certificate can ever be signed of a pending request.
const annotationUnsignable = "rollcall/unsignable"

// annotationUnfinished tells there what is missing of an approval by Flight Control.
const annotationUnfinished = "rollcall/unfinished"

// positions are where the requests that q selects stand, by name.
func positions(
	ctx context.Context, store *inventory.Store, q inventory.Query,
) (map[string]inventory.EnrollmentPosition, error) {
	found, err := store.Enrollments(ctx, q)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]inventory.EnrollmentPosition, len(found))
	for _, e := range found {
		byName[e.Name] = e
	}
	return byName, nil
}

// WithKeys annotates requests with how their keys stand, with why they cannot be signed, and with what is missing
// of their approvals.
func WithKeys(ctx context.Context, store *inventory.Store, q inventory.Query, requests []inventory.Resource) error {
	stand, err := positions(ctx, store, q)
	if err != nil {
		return err
	}
	for i, r := range requests {
		e := stand[r.Metadata.Name]
		annotations := maps.Clone(r.Metadata.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[annotationKey] = string(e.Key)
		delete(annotations, annotationUnsignable)
		if e.Unsignable != nil {
			annotations[annotationUnsignable] = string(e.Unsignable.Reason)
		}
		delete(annotations, annotationUnfinished)
		if e.Unfinished != "" {
			annotations[annotationUnfinished] = string(e.Unfinished)
		}
		requests[i].Metadata.Annotations = annotations
	}
	return nil
}

// signable is the cell that says whether a certificate can be signed of a pending request.
func signable(e inventory.EnrollmentPosition) string {
	switch {
	case e.State != runbook.EnrollmentPending:
		return None
	case e.Unsignable != nil:
		return fmt.Sprintf("never (%s)", e.Unsignable.Reason)
	}
	return "yes"
}

// RequestRows is the table of enrollment requests.
func RequestRows(
	ctx context.Context, store *inventory.Store, q inventory.Query, now time.Time, wide bool,
	requests []inventory.Resource,
) (headers []string, rows [][]string, err error) {
	stand, err := positions(ctx, store, q)
	if err != nil {
		return nil, nil, err
	}
	headers = []string{"NAME", "APPROVAL", "APPROVER", "APPROVED LABELS", "KEY", "SIGNABLE", "ALIAS", "HOSTNAME", "AGE"}
	if wide {
		headers = append(headers, "KNOWN VERSION", "AWAITS RECONNECT", "UNFINISHED")
	}
	for _, r := range requests {
		spec := readRequestSpec(r.Spec)
		row := append([]string{r.Metadata.Name}, approval(r.Status)...)
		e := stand[r.Metadata.Name]
		row = append(row, OrNone(string(e.Key)), signable(e), OrNone(spec.Labels["alias"]), OrNone(spec.hostname()),
			Age(now, r.Metadata.CreationTimestamp))
		if wide {
			awaits := r.Metadata.Annotations[runbook.AnnotationAwaitingReconnect] == runbook.AnnotationTrue
			row = append(row, spec.knownVersion(), fmt.Sprint(awaits), OrNone(string(e.Unfinished)))
		}
		rows = append(rows, row)
	}
	return headers, rows, nil
}

// approval is the decision about an enrollment request, who took it, and the labels they gave.
func approval(status json.RawMessage) []string {
	var s struct {
		Approval *struct {
			Approved   bool              `json:"approved"`
			ApprovedBy string            `json:"approvedBy"`
			Labels     map[string]string `json:"labels"`
		} `json:"approval"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	}
	if len(status) > 0 {
		_ = json.Unmarshal(status, &s)
	}
	denied := false
	for _, c := range s.Conditions {
		denied = denied || c.Type == "Denied" && c.Status == "True"
	}
	switch {
	case s.Approval == nil && denied:
		return []string{"Denied", None, None}
	case s.Approval == nil:
		return []string{"Pending", None, None}
	case s.Approval.Approved:
		return []string{"Approved", OrNone(s.Approval.ApprovedBy), OrNone(Pairs(s.Approval.Labels))}
	}
	return []string{"Denied", OrNone(s.Approval.ApprovedBy), OrNone(Pairs(s.Approval.Labels))}
}

// requestSpec is what commands read of an enrollment request's spec.
type requestSpec struct {
	Labels map[string]string `json:"labels"`
	Status struct {
		SystemInfo map[string]any `json:"systemInfo"`
	} `json:"deviceStatus"`
	// Known is a string, or in older requests a number.
	Known any `json:"knownRenderedVersion"`
}

// readRequestSpec reads what it can of a request's spec, as ReadDeviceStatus does of a status.
func readRequestSpec(spec json.RawMessage) (s requestSpec) {
	if len(spec) > 0 {
		_ = json.Unmarshal(spec, &s)
	}
	return s
}

// hostname is the name that the device has for itself, or empty.
func (s requestSpec) hostname() string {
	name, _ := s.Status.SystemInfo["hostname"].(string)
	return name
}

// knownVersion is the version that the device runs, as it stands in the request.
func (s requestSpec) knownVersion() string {
	if s.Known == nil {
		return None
	}
	return fmt.Sprint(s.Known)
}
