package fake

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/jmoiron/sqlx"
)

// Why a device is not edited.
var (
	errOwned  = errors.New("updating the resource is not allowed because it has an owner")
	errLeaves = errors.New("decommissioned device cannot be created or updated")
)

// editDevice applies a JSON patch to a device's labels and spec, as PatchDevice in the real one's
// internal/service/device does. Another spec raises the generation and queues the device to be rendered. That it waits
// or is paused hinders no edit: the event is queued all the same, and the worker drops it.
func (f *FlightControl) editDevice(c call) {
	raw, err := io.ReadAll(c.r.Body)
	var patch jsonpatch.Patch
	if err == nil {
		patch, err = jsonpatch.DecodePatch(raw)
	}
	if err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	ctx := c.r.Context()
	var d *device
	var wrong error
	changed := false
	err = f.within(ctx, func(tx *sqlx.Tx) (err error) {
		if d, err = f.device(ctx, tx, c.org, c.name(), "for update"); err != nil || d == nil {
			return err
		}
		if changed, wrong = d.edit(patch); wrong != nil {
			return nil
		}
		d.serviceSide()
		_, err = tx.ExecContext(ctx, `update devices set labels = $3, spec = $4, status = $5, generation = $6,
			resource_version = coalesce(resource_version, 0) + 1, updated_at = now() where org_id = $1 and name = $2`,
			c.org, c.name(), encoded(d.Labels), encoded(d.Spec), encoded(d.Status), d.Generation)
		return err
	})
	switch {
	case err != nil:
		f.broken(c.w, err)
		return
	case d == nil:
		notFound(c.w, "Device", c.name())
		return
	case errors.Is(wrong, errOwned), errors.Is(wrong, errLeaves):
		fail(c.w, http.StatusConflict, "Conflict", wrong.Error())
		return
	case wrong != nil:
		fail(c.w, http.StatusBadRequest, "BadRequest", wrong.Error())
		return
	}
	e := event{reason: "ResourceUpdated", kind: "Device", name: d.Name, message: "Device was updated successfully."}
	f.note(ctx, c, e)
	if changed { // by labels alone the worker renders nothing
		f.enqueue(ctx, c.org, e)
	}
	reply(c.w, http.StatusOK, d.resource())
}

// edit applies a patch, and reports whether the spec is another now. A fleet's device has its spec from the fleet.
func (d *device) edit(patch jsonpatch.Patch) (changed bool, err error) {
	if d.Spec["decommissioning"] != nil {
		return false, errLeaves
	}
	was, is, err := d.apply(patch)
	if err != nil {
		return false, err
	}
	changed = !reflect.DeepEqual(was["spec"], is["spec"])
	labels, spec := is.part("metadata")["labels"], object(is.part("spec"))
	for _, o := range []object{was, is} {
		delete(o.part("metadata"), "labels")
		delete(o, "spec")
	}
	if !reflect.DeepEqual(was, is) {
		return false, fmt.Errorf("only metadata.labels and spec of %s can be patched", d.Name)
	}
	if changed && d.Owner.String != "" {
		return false, errOwned
	}
	d.Labels, _ = labels.(map[string]any)
	if changed {
		d.Spec, d.Generation = spec, d.Generation+1
	}
	if d.Status == nil {
		d.Status = object{}
	}
	return changed, nil
}
