package fake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/jmoiron/sqlx"
)

// putStatus replaces a device's status by its agent's, under what the service itself says.
func (f *FlightControl) putStatus(c call) {
	name := c.name()
	var sent struct {
		Metadata struct{ Name string }
		Status   object
	}
	if err := json.NewDecoder(c.r.Body).Decode(&sent); err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	if sent.Metadata.Name != name || sent.Status == nil {
		fail(c.w, http.StatusBadRequest, "BadRequest",
			"resource name specified in metadata does not match name in path, or there is no status")
		return
	}
	f.storeStatus(c, func(*device) (object, error) { return sent.Status, nil })
}

// patchStatus applies a JSON patch to the device, of which nothing but the status may change.
func (f *FlightControl) patchStatus(c call) {
	const patchType = "application/json-patch+json"
	raw, err := io.ReadAll(c.r.Body)
	if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err == nil && kind != patchType {
		err = fmt.Errorf("unexpected content type %q", kind)
	}
	var patch jsonpatch.Patch
	if err == nil {
		patch, err = jsonpatch.DecodePatch(raw)
	}
	if err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	f.storeStatus(c, func(d *device) (object, error) { return d.patched(patch) })
}

// patched is the status that a patch makes of a device's.
func (d *device) patched(patch jsonpatch.Patch) (object, error) {
	if d.Spec["decommissioning"] != nil {
		return nil, errors.New("decommissioned device cannot be updated")
	}
	was, is, err := d.apply(patch)
	if err != nil {
		return nil, err
	}
	status, ok := is["status"].(map[string]any)
	if !ok {
		return nil, errors.New("there is no status")
	}
	for _, part := range []string{"apiVersion", "kind", "metadata", "spec"} {
		if !reflect.DeepEqual(was[part], is[part]) {
			return nil, errors.New(part + " is immutable")
		}
	}
	return status, nil
}

// apply returns the device as it is, and as a patch makes it.
func (d *device) apply(patch jsonpatch.Patch) (was, is object, err error) {
	before, err := json.Marshal(d.resource())
	if err != nil {
		return nil, nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, nil, err
	}
	err = errors.Join(json.Unmarshal(before, &was), json.Unmarshal(after, &is))
	return was, is, err
}

// storeStatus stores a status that an agent has sent.
func (f *FlightControl) storeStatus(c call, of func(*device) (object, error)) {
	ctx, name := c.r.Context(), c.name()
	var d *device
	var wrong error
	err := f.within(ctx, func(tx *sqlx.Tx) (err error) {
		if d, err = f.device(ctx, tx, c.org, name, "for update"); err != nil || d == nil {
			return err
		}
		before := d.Status
		if d.Status, wrong = of(d); wrong != nil {
			return nil
		}
		for _, part := range []string{"summary", "updated", "lifecycle", "applicationsSummary"} {
			if said := d.Status.text(part, "status"); said == "" || said == "Unknown" {
				d.Status.part(part)["status"] = before.text(part, "status")
			}
		}
		d.serviceSide()
		_, err = tx.ExecContext(ctx,
			`update devices set status = $3, resource_version = coalesce(resource_version, 0) + 1, updated_at = now()
			where org_id = $1 and name = $2`, c.org, name, encoded(d.Status))
		return err
	})
	switch {
	case err != nil:
		f.broken(c.w, err)
		return
	case d == nil:
		notFound(c.w, "Device", name)
		return
	case wrong != nil:
		fail(c.w, http.StatusBadRequest, "BadRequest", wrong.Error())
		return
	}
	if err := f.touch(ctx, c.org, name); err != nil {
		f.log.Error("write last_seen", "device", name, "error", err)
	}
	reply(c.w, http.StatusOK, d.resource())
}

// serviceSide writes what the service knows better into the status: the annotations win over whatever an agent says.
func (d *device) serviceSide() {
	summary := d.Status.part("summary")
	switch {
	case d.Annotations[awaitingReconnect] == "true":
		summary["status"], summary["info"] = "AwaitingReconnect", infoAwaiting
	case d.Annotations[conflictPaused] == "true":
		summary["status"], summary["info"] = "ConflictPaused", infoConflictPaused
	case d.condition("Rebooting"):
		summary["status"], summary["info"] = "Rebooting", "Device is rebooting."
	default:
		summary["status"], summary["info"] = "Online", "Device's system resources are healthy."
	}
	updated := d.Status.part("updated")
	switch {
	case d.updating():
		updated["status"], updated["info"] = "Updating", "Device is updating to the latest device spec."
	case d.Annotations[renderedVersion] != "" && d.specValid() &&
		d.Annotations[renderedVersion] == d.Status.text("config", "renderedVersion"):
		updated["status"], updated["info"] = "UpToDate", "Device was updated to the latest device spec."
	default:
		updated["status"], updated["info"] = "OutOfDate", "Device has not been updated to the latest device spec."
	}
}

// condition reports whether the agent's condition Updating holds for this reason.
func (d *device) condition(reason string) bool {
	all, _ := d.Status["conditions"].([]any)
	for _, entry := range all {
		c, _ := entry.(map[string]any)
		if c["type"] == "Updating" && c["status"] == "True" && (reason == "" || c["reason"] == reason) {
			return true
		}
	}
	return false
}

func (d *device) updating() bool { return d.condition("") }
