package fake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/jmoiron/sqlx"
)

// render renders a device whose spec is another than that which was rendered last, unless it waits or is paused.
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
		if next, err = nextVersion(d); err != nil {
			next = ""
			return err
		}
		return f.storeRendered(ctx, tx, d, next, hash)
	})
	if err != nil || next == "" {
		return err
	}
	f.log.Info("rendered", "device", t.Name, "version", next)
	return f.storeAndNotify(ctx, t.Org, t.Name, next)
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
	d.serviceSide()
	rendered, err := json.Marshal(map[string]any{"image": imageOf(d.Spec)})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx,
		`update devices set annotations = $3, status = $4, rendered_config = to_jsonb('enc:v1:fake'::text),
		rendered_applications = to_jsonb('enc:v1:fake'::text), rendered_os = $5, render_timestamp = now(),
		resource_version = coalesce(resource_version, 0) + 1, updated_at = now() where org_id = $1 and name = $2`,
		d.Org, d.Name, encoded(d.Annotations), encoded(d.Status), string(rendered))
	return err
}

func imageOf(spec object) string { return spec.text("os", "image") }
