package fake

import (
	"encoding/json"
	"net/http"

	"github.com/jmoiron/sqlx"
)

// decommission begins to decommission a device: it loses its owner and its labels, and is rendered so that its agent
// hears of it. Its generation stays. A second time is a conflict.
func (f *FlightControl) decommission(c call) {
	var body struct{ Target string }
	if err := json.NewDecoder(c.r.Body).Decode(&body); err != nil ||
		body.Target != "Unenroll" && body.Target != "FactoryReset" {
		fail(c.w, http.StatusBadRequest, "BadRequest", "target must be Unenroll or FactoryReset")
		return
	}
	ctx := c.r.Context()
	var d *device
	twice := false
	err := f.within(ctx, func(tx *sqlx.Tx) (err error) {
		if d, err = f.device(ctx, tx, c.org, c.name(), "for update"); err != nil || d == nil {
			return err
		}
		if d.Spec["decommissioning"] != nil {
			twice = true
			return nil
		}
		d.retire(body.Target)
		_, err = tx.ExecContext(ctx, `update devices set spec = $3, status = $4, owner = null, labels = null,
			resource_version = coalesce(resource_version, 0) + 1, updated_at = now() where org_id = $1 and name = $2`,
			c.org, c.name(), encoded(d.Spec), encoded(d.Status))
		return err
	})
	switch {
	case err != nil:
		f.broken(c.w, err)
	case d == nil:
		notFound(c.w, "Device", c.name())
	case twice:
		fail(c.w, http.StatusConflict, "Conflict",
			"the object has been modified; please apply your changes to the latest version and try again")
	default:
		e := event{
			reason: "DeviceDecommissioned", kind: "Device", name: d.Name,
			message: "Device was decommissioned successfully.",
		}
		f.note(ctx, c, e)
		f.enqueue(ctx, c.org, e)
		reply(c.w, http.StatusOK, d.resource())
	}
}

func (d *device) retire(target string) {
	if d.Spec == nil {
		d.Spec = object{}
	}
	if d.Status == nil {
		d.Status = object{}
	}
	d.Spec["decommissioning"] = map[string]any{"target": target}
	d.Status.part("lifecycle")["status"] = "Decommissioning"
	d.Owner.Valid, d.Labels = false, nil
}

// deleteDevice removes a device's row and that of the enrollment request of its name. A missing one is no error.
func (f *FlightControl) deleteDevice(c call) {
	err := f.within(c.r.Context(), func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(c.r.Context(), `delete from devices where org_id = $1 and name = $2`, c.org, c.name())
		if err == nil {
			_, err = tx.ExecContext(c.r.Context(),
				`delete from enrollment_requests where org_id = $1 and name = $2 and spec is not null`, c.org, c.name())
		}
		return err
	})
	if err != nil {
		f.broken(c.w, err)
		return
	}
	reply(c.w, http.StatusOK, map[string]any{"apiVersion": apiVersion, "kind": "Status", "code": 200, "status": "Success"})
}

// deleteRequest removes an enrollment request, unless its device is there.
func (f *FlightControl) deleteRequest(c call) {
	d, err := f.device(c.r.Context(), f.db, c.org, c.name(), "")
	if err == nil && d == nil {
		_, err = f.db.ExecContext(c.r.Context(),
			`delete from enrollment_requests where org_id = $1 and name = $2 and spec is not null`, c.org, c.name())
	}
	switch {
	case err != nil:
		f.broken(c.w, err)
	case d != nil:
		fail(c.w, http.StatusConflict, "Conflict", `cannot delete ER "`+c.name()+`": device exists`)
	default:
		reply(c.w, http.StatusOK,
			map[string]any{"apiVersion": apiVersion, "kind": "Status", "code": 200, "status": "Success"})
	}
}
