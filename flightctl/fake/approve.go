package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/internal/authority"
)

// approve signs, makes the device, and stores the approval, in this order and not in one transaction. approved: false
// does nothing at all.
func (f *FlightControl) approve(c call) {
	var body struct {
		Approved      bool
		Labels        *texts
		ReplaceLabels bool
	}
	if err := json.NewDecoder(c.r.Body).Decode(&body); err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	if body.Labels != nil {
		if wrong := wrongLabels(*body.Labels); len(wrong) > 0 {
			fail(c.w, http.StatusBadRequest, "BadRequest", strings.Join(wrong, "\n"))
			return
		}
	}
	ctx := c.r.Context()
	r, err := f.request(ctx, c.org, c.name())
	switch {
	case err != nil:
		f.broken(c.w, err)
		return
	case r == nil:
		notFound(c.w, "EnrollmentRequest", c.name())
		return
	case !body.Approved:
		reply(c.w, http.StatusOK, r.Status["approval"])
		return
	case r.approved():
		fail(c.w, http.StatusBadRequest, "BadRequest", "Enrollment request is already approved")
		return
	}
	if err := f.sign(r, *body.Labels, body.ReplaceLabels); err != nil { // without labels this panics, as it does there
		fail(c.w, http.StatusBadRequest, "BadRequest", fmt.Sprintf("Error approving and signing enrollment request: %v", err))
		return
	}
	if err := f.makeDevice(c, r); err != nil {
		fail(c.w, http.StatusInternalServerError, "InternalError",
			fmt.Sprintf("error creating device from enrollment request: %v", err))
		return
	}
	f.at(ctx, ApproveAfterDevice)
	_, err = f.db.ExecContext(ctx,
		`update enrollment_requests set status = $3, resource_version = coalesce(resource_version, 0) + 1, updated_at = now()
		where org_id = $1 and name = $2`, c.org, r.Name, encoded(r.Status))
	if err != nil {
		f.broken(c.w, err)
		return
	}
	f.note(ctx, c,
		event{reason: "EnrollmentRequestApproved", kind: "EnrollmentRequest", name: r.Name, message: "Enrollment request " +
			"was approved successfully"})
	f.at(ctx, ApproveAfterAll)
	reply(c.w, http.StatusOK, r.Status["approval"])
}

// wrongLabels lists what no label of Kubernetes may be.
func wrongLabels(of texts) (wrong []string) {
	for _, key := range slices.Sorted(maps.Keys(of)) {
		for _, why := range validation.IsQualifiedName(key) {
			wrong = append(wrong, fmt.Sprintf("labels: Invalid value: %q: %s", key, why))
		}
		for _, why := range validation.IsValidLabelValue(of[key]) {
			wrong = append(wrong, fmt.Sprintf("labels: Invalid value: %q: %s", of[key], why))
		}
	}
	return wrong
}

// sign puts certificate, approval and condition into the status, in memory.
func (f *FlightControl) sign(r *request, labels texts, replace bool) error {
	text, _ := r.Spec["csr"].(string)
	csr, err := authority.ReadRequest(text)
	if err != nil {
		return err
	}
	certificate, err := f.cfg.CA.Sign(csr, authority.Subject{Device: r.Name, Organisation: r.Org}, certificateLifetime)
	if err != nil {
		return err
	}
	all := texts{}
	if own, ok := r.Spec["labels"].(map[string]any); ok && !replace {
		for key, value := range own {
			all[key], _ = value.(string)
		}
	}
	for key, value := range labels {
		all[key] = value
	}
	f.mu.Lock()
	by := f.name
	f.mu.Unlock()
	now := time.Now().UTC().Format(time.RFC3339)
	conditions, _ := r.Status["conditions"].([]any)
	r.Status = object{
		"certificate": string(certificate),
		"approval":    map[string]any{"approved": true, "approvedAt": now, "approvedBy": by, "labels": all},
		"conditions": append(conditions, map[string]any{
			"type": "Approved", "status": "True", "reason": "ManuallyApproved", "message": "Approved by " + by,
			"lastTransitionTime": now,
		}),
	}
	return nil
}

// makeDevice makes the device of a request that was signed. The key is written first, and only where the request is
// annotated.
func (f *FlightControl) makeDevice(c call, r *request) error {
	ctx := c.r.Context()
	d := device{Org: c.org, Name: r.Name, Status: r.firstStatus()}
	labels := r.Status["approval"].(map[string]any)["labels"].(texts)
	if r.Annotations[awaitingReconnect] == "true" {
		d.Annotations = texts{awaitingReconnect: "true"}
		if err := f.store.SetNX(ctx, awaitingKey(c.org, r.Name), "true", 0).Err(); err != nil {
			f.log.Error("write the awaiting key", "device", r.Name, "error", err)
		}
	}
	d.serviceSide()
	_, err := f.db.ExecContext(ctx,
		`insert into devices (org_id, name, labels, annotations, alias, generation, resource_version, created_at,
		updated_at, spec, status) values ($1, $2, $3, $4, nullif($5, ''), 1, 1, now(), now(), '{}', $6)`,
		c.org, r.Name, encoded(labels), encoded(d.Annotations), labels["alias"], encoded(d.Status))
	if isDuplicate(err) {
		return fmt.Errorf("device %s already exists and cannot be overwritten during enrollment request approval", r.Name)
	}
	if err != nil {
		return err
	}
	e := event{reason: "ResourceCreated", kind: "Device", name: r.Name, message: "Device was created successfully."}
	f.note(ctx, c, e)
	f.enqueue(ctx, c.org, e)
	return nil
}

// firstStatus is that of a device which was just enrolled.
func (r *request) firstStatus() object {
	status := object{
		"lifecycle": map[string]any{"status": "Enrolled"}, "config": map[string]any{"renderedVersion": ""},
		"conditions": []any{},
	}
	if said, ok := r.Spec["deviceStatus"].(map[string]any); ok && said["systemInfo"] != nil {
		status["systemInfo"] = said["systemInfo"]
	}
	if mode, ok := r.Spec["osMode"].(string); ok {
		status["capabilities"] = map[string]any{"osMode": mode}
	}
	return status
}

// note says an event of a call; that it could not be written is no error of the call.
func (f *FlightControl) note(ctx context.Context, c call, e event) {
	e.actor, e.requestID = "user:none", c.requestID()
	if err := f.say(ctx, c.org, e); err != nil {
		f.log.Error("write event", "name", e.name, "error", err)
	}
}
