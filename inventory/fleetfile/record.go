package fleetfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Record is a resource on its way to its table; the JSON names are the columns.
type Record struct {
	Kind string `json:"-"`
	// Where says which part of the input it is, for errors.
	Where string `json:"-"`

	Name            string            `json:"name"`
	Owner           *string           `json:"owner,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	Generation      int64             `json:"generation"`
	ResourceVersion int64             `json:"resource_version"`
	CreatedAt       *time.Time        `json:"created_at,omitempty"`
	DeletedAt       *time.Time        `json:"deleted_at,omitempty"`
	Alias           string            `json:"alias,omitempty"`
	Spec            json.RawMessage   `json:"spec,omitempty"`
	Status          json.RawMessage   `json:"status,omitempty"`
	LastSeen        *time.Time        `json:"last_seen,omitempty"`
}

// aliasLabel is the label from which Flight Control fills a device's alias.
const aliasLabel = "alias"

// decodeResource reads a resource from its fields. A field that is null counts as left out.
func decodeResource(head documentHead, fields []member) (Record, error) {
	record := Record{Kind: head.kind, Generation: 1, ResourceVersion: 1}
	if err := head.check(); err != nil {
		return record, err
	}
	for _, f := range fields {
		if jsonType(f.value) == "null" {
			continue
		}
		var err error
		switch f.name {
		case "apiVersion", "kind":
		case "metadata":
			err = record.decodeMetadata(f.value)
		case "spec":
			record.Spec, err = decodeObject(f)
		case "status":
			err = record.decodeStatus(f)
		default:
			err = unknownField(f.name, "")
		}
		if err != nil {
			return record, err
		}
	}
	if record.Name == "" {
		return record, errors.New("metadata.name: is missing")
	}
	if record.Kind == KindDevice {
		record.Alias = record.Labels[aliasLabel]
	}
	return record, nil
}

func (r *Record) decodeMetadata(value []byte) error {
	fields, err := members(value)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	for _, f := range fields {
		if jsonType(f.value) == "null" && f.name != "name" {
			continue
		}
		if err := r.decodeMetadataField(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) decodeMetadataField(f member) (err error) {
	path := "metadata." + f.name
	switch f.name {
	case "labels":
		r.Labels, err = decodeMap(f.value, path, validation.IsValidLabelValue)
		return err
	case "annotations":
		r.Annotations, err = decodeMap(f.value, path, func(string) []string { return nil })
		return err
	case "name":
		r.Name, err = decodeName(f.value)
	case "owner":
		r.Owner, err = decodeOwner(f.value)
	case "generation":
		r.Generation, err = decodeCount(f.value)
	case "resourceVersion":
		r.ResourceVersion, err = decodeResourceVersion(f.value)
	case "creationTimestamp":
		r.CreatedAt, err = decodeTime(f.value)
	case "deletionTimestamp":
		r.DeletedAt, err = decodeTime(f.value)
	default:
		return unknownField(f.name, "metadata.")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func decodeResourceVersion(value []byte) (int64, error) {
	text, err := decodeString(value)
	if err != nil {
		return 0, err
	}
	return parseCount(text)
}

// decodeObject keeps an object as it is written.
func decodeObject(f member) (json.RawMessage, error) {
	if _, err := members(f.value); err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return f.value, nil
}

// decodeStatus keeps a status as it is written, but for a device's lastSeen, which has a table of its own. The zero
// time is how Flight Control writes that a device was never seen.
func (r *Record) decodeStatus(f member) error {
	fields, err := members(f.value)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	r.Status = f.value
	i := slices.IndexFunc(fields, func(m member) bool { return m.name == "lastSeen" })
	if r.Kind != KindDevice || i < 0 {
		return nil
	}
	r.Status = joinMembers(slices.Delete(slices.Clone(fields), i, i+1))
	if jsonType(fields[i].value) == "null" {
		return nil
	}
	if r.LastSeen, err = decodeTime(fields[i].value); err != nil {
		return fmt.Errorf("status.lastSeen: %w", err)
	}
	if r.LastSeen.IsZero() {
		r.LastSeen = nil
	}
	return nil
}
