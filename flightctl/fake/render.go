package fake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
)

// render renders a device whose spec is another than that which was rendered last, unless it waits or is paused. What
// fails says so in the device's conditions, and nothing queues it again: deviceRender in the real one's internal/tasks
// only logs the error.
func (f *FlightControl) render(ctx context.Context, t task) error {
	next := ""
	err := f.within(ctx, func(tx *sqlx.Tx) error {
		d, err := f.device(ctx, tx, t.Org, t.Name, "for update")
		if err != nil || d == nil {
			return err
		}
		if d.Annotations[awaitingReconnect] == "true" || d.Annotations[conflictPaused] == "true" {
			return nil
		}
		hash := specHash(d.Spec)
		if d.Annotations[renderedSpecHash] == hash {
			return nil
		}
		if d.Owner.String != "" && d.Annotations[templateVersion] == "" {
			return fmt.Errorf("device %s has no templateversion annotation", d.Name)
		}
		if fails, ok := f.failsToRender(t.Name); ok {
			return f.storeFailed(ctx, tx, d, hash, fails)
		}
		version, err := nextVersion(d)
		if err != nil {
			return f.storeFailed(ctx, tx, d, hash, renderFailure{message: err.Error()})
		}
		if err := f.storeRendered(ctx, tx, d, version, hash); err != nil {
			return err
		}
		next = version
		return nil
	})
	if err != nil || next == "" {
		return err
	}
	f.log.Info("rendered", "device", t.Name, "version", next)
	return f.storeAndNotify(ctx, t.Org, t.Name, next)
}

func (f *FlightControl) failsToRender(name string) (fails renderFailure, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fails, ok = f.unrenderable[name]
	return fails, ok
}

// storeFailed writes that a spec cannot be rendered. Where that is permanent the spec counts as rendered, and so does
// the version of the fleet's template.
func (f *FlightControl) storeFailed(
	ctx context.Context, tx *sqlx.Tx, d *device, hash string, fails renderFailure,
) error {
	f.log.Error("render", "device", d.Name, "error", fails.message)
	if fails.permanent {
		if d.Annotations == nil {
			d.Annotations = texts{}
		}
		d.Annotations[renderedSpecHash] = hash
		if d.Owner.String != "" {
			d.Annotations[renderedTemplate] = d.Annotations[templateVersion]
		}
	}
	if d.Status == nil {
		d.Status = object{}
	}
	d.setSpecValid("False", "Invalid", fails.message)
	d.serviceSide()
	_, err := tx.ExecContext(ctx,
		`update devices set annotations = $3, status = $4, service_conditions = $5,
		resource_version = coalesce(resource_version, 0) + 1, updated_at = now() where org_id = $1 and name = $2`,
		d.Org, d.Name, encoded(d.Annotations), encoded(d.Status), encoded(d.Service))
	return err
}

// setSpecValid sets the condition that says whether the spec can be rendered.
func (d *device) setSpecValid(status, reason, message string) {
	was, _ := d.Service["conditions"].([]any)
	set := map[string]any{
		"type": specValid, "status": status, "reason": reason, "message": message,
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	}
	conditions := []any{}
	for _, entry := range was {
		c, _ := entry.(map[string]any)
		if c["type"] != specValid {
			conditions = append(conditions, entry)
			continue
		}
		if c["status"] == status {
			set["lastTransitionTime"] = c["lastTransitionTime"]
		}
	}
	if d.Service == nil {
		d.Service = object{}
	}
	d.Service["conditions"] = append(conditions, set)
}

// specValid reports whether no rendering of the spec has failed last.
func (d *device) specValid() bool {
	conditions, _ := d.Service["conditions"].([]any)
	return !slices.ContainsFunc(conditions, func(entry any) bool {
		c, _ := entry.(map[string]any)
		return c["type"] == specValid && c["status"] != "True"
	})
}

func specHash(spec object) string {
	raw, err := json.Marshal(spec)
	if err != nil {
		panic(err) // it was read from JSON
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// nextVersion is one above the higher of the annotation and the version in the row's status. It compares with no poll.
func nextVersion(d *device) (string, error) {
	highest := int64(0)
	for _, text := range []string{d.Annotations[renderedVersion], d.Status.text("config", "renderedVersion")} {
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", err
		}
		highest = max(highest, n)
	}
	return strconv.FormatInt(highest+1, 10), nil
}

// storeRendered writes what was rendered. Configuration is encrypted, as it is by default.
func (f *FlightControl) storeRendered(ctx context.Context, tx *sqlx.Tx, d *device, next, hash string) error {
	if d.Annotations == nil {
		d.Annotations = texts{}
	}
	d.Annotations[renderedVersion], d.Annotations[renderedSpecHash] = next, hash
	if version, ok := d.Annotations[templateVersion]; ok {
		d.Annotations[renderedTemplate] = version
	}
	if d.Status == nil {
		d.Status = object{}
	}
	d.setSpecValid("True", "Valid", "")
	d.serviceSide()
	rendered, err := json.Marshal(map[string]any{"image": imageOf(d.Spec)})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx,
		`update devices set annotations = $3, status = $4, service_conditions = $6,
		rendered_config = to_jsonb('enc:v1:fake'::text),
		rendered_applications = to_jsonb('enc:v1:fake'::text), rendered_os = $5, render_timestamp = now(),
		resource_version = coalesce(resource_version, 0) + 1, updated_at = now() where org_id = $1 and name = $2`,
		d.Org, d.Name, encoded(d.Annotations), encoded(d.Status), string(rendered), encoded(d.Service))
	return err
}

func imageOf(spec object) string { return spec.text("os", "image") }
