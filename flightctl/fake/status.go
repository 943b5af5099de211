package fake

import (
	"encoding/json"
	"net/http"

	"github.com/jmoiron/sqlx"
)

// putStatus replaces a device's status by its agent's, under what the service itself says.
func (f *FlightControl) putStatus(c call) {
	ctx, name := c.r.Context(), c.name()
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
	var d *device
	err := f.within(ctx, func(tx *sqlx.Tx) (err error) {
		if d, err = f.device(ctx, tx, c.org, name, "for update"); err != nil || d == nil {
			return err
		}
		before := d.Status
		d.Status = sent.Status
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
	case d.Annotations[renderedVersion] != "" &&
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
