package agentapi

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"rollcall/internal/jsonbound"
	"rollcall/inventory"
)

// patchStatus answers PATCH /devices/{name}/status. It takes a JSON patch (RFC 6902) of the Device, applies it to
// the stored one, and stores the status. A version is a report only where the patch sets it.
func (g *Gateway) patchStatus(w http.ResponseWriter, r *http.Request, c caller) error {
	const patchType = "application/json-patch+json"
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != patchType {
		return problemf(http.StatusUnsupportedMediaType, "send a JSON patch, with Content-Type %s", patchType)
	}
	body, err := g.readJSON(w, r, maxBody)
	if err != nil {
		return err
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return invalid("the body is not a JSON patch: %v", err)
	}
	for range maxReads {
		device, stored, err := g.patched(r, c, patch)
		if err != nil {
			return err
		}
		if stored {
			writeJSON(w, http.StatusOK, acknowledged(device))
			return nil
		}
	}
	return fmt.Errorf("device %s changes all the time", c.name)
}

// patched applies a patch to the device as it is and stores its status. stored is false where another was faster.
func (g *Gateway) patched(r *http.Request, c caller,
	patch jsonpatch.Patch,
) (device inventory.Resource, stored bool, err error) {
	d, err := g.read(r.Context(), c)
	if err != nil {
		return device, false, err
	}
	ctx, cancel := bounded(r.Context())
	defer cancel()
	found, err := g.cfg.Store.Devices(ctx, inventory.Query{OrgID: g.cfg.OrgID, Names: []string{c.name}})
	if err != nil || len(found) == 0 {
		return device, false, err // one that has gone meanwhile is found to be gone by the next attempt
	}
	text, err := applyPatch(found[0], patch)
	if err != nil {
		return device, false, err
	}
	agent, err := decodeStatus(text, c.name)
	if err != nil {
		return device, false, err
	}
	if !setsVersion(patch) {
		agent.version, agent.invalid = nil, nil
	}
	if err := g.reportStatus(r.Context(), d, agent); err != nil {
		return device, false, err
	}
	return g.cfg.Store.PatchedStatus(ctx, g.cfg.OrgID, c.name, found[0].Metadata.ResourceVersion, agent.status,
		agent.version)
}

// applyPatch applies a patch to a device. What it makes of it is no larger than a body that would say the same.
func applyPatch(device inventory.Resource, patch jsonpatch.Patch) ([]byte, error) {
	if len(device.Status) == 0 {
		device.Status = json.RawMessage(`{}`)
	}
	text, err := json.Marshal(device)
	if err != nil {
		return nil, fmt.Errorf("write the device that is patched: %w", err)
	}
	options := jsonpatch.NewApplyOptions()
	options.AccumulatedCopySizeLimit = maxBody
	if text, err = patch.ApplyWithOptions(text, options); err != nil {
		return nil, invalid("the JSON patch cannot be applied: %v", err)
	}
	if len(text) > maxBody {
		return nil, tooLarge(maxBody)
	}
	printed, err := jsonbound.CheckPrinted(text)
	return text, storable(printed, err, maxBody)
}

// setsVersion reports whether a patch writes the version that the device runs.
func setsVersion(patch jsonpatch.Patch) bool {
	const version = "/status/config/renderedVersion"
	for _, operation := range patch {
		path, err := operation.Path()
		_, within := strings.CutPrefix(version+"/", strings.TrimSuffix(path, "/")+"/")
		if err == nil && operation.Kind() != "test" && (within || strings.HasPrefix(path, version)) {
			return true
		}
	}
	return false
}
