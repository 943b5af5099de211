package inventory

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// commonColumns are those of commonRow, from a table that is called r.
const commonColumns = `r.org_id, r.name, coalesce(r.owner, '') as owner, r.labels, r.annotations,
  coalesce(r.generation, 0) as generation, coalesce(r.resource_version, 0) as resource_version, r.created_at`

// commonRow is what the tables of resources and events have in common.
type commonRow struct {
	OrgID           string     `db:"org_id"`
	Name            string     `db:"name"`
	Owner           string     `db:"owner"`
	Labels          []byte     `db:"labels"`
	Annotations     []byte     `db:"annotations"`
	Generation      int64      `db:"generation"`
	ResourceVersion int64      `db:"resource_version"`
	CreatedAt       *time.Time `db:"created_at"`
}

func (r commonRow) metadata() (Metadata, error) {
	labels, err := decodeStrings(r.Labels)
	if err != nil {
		return Metadata{}, fmt.Errorf("labels of %s: %w", r.Name, err)
	}
	annotations, err := decodeStrings(r.Annotations)
	if err != nil {
		return Metadata{}, fmt.Errorf("annotations of %s: %w", r.Name, err)
	}
	m := Metadata{Name: r.Name, Owner: r.Owner, Labels: labels, Annotations: annotations, Generation: r.Generation}
	if r.ResourceVersion != 0 {
		m.ResourceVersion = strconv.FormatInt(r.ResourceVersion, 10)
	}
	if r.CreatedAt != nil {
		created := r.CreatedAt.UTC()
		m.CreationTimestamp = &created
	}
	return m, nil
}

type resourceRow struct {
	commonRow
	Spec     []byte     `db:"spec"`
	Status   []byte     `db:"status"`
	LastSeen *time.Time `db:"last_seen"`
}

func (r resourceRow) resource(kind string) (Resource, error) {
	metadata, err := r.metadata()
	if err != nil {
		return Resource{}, err
	}
	return Resource{
		OrgID:      r.OrgID,
		APIVersion: APIVersion,
		Kind:       kind,
		Metadata:   metadata,
		Spec:       r.Spec,
		Status:     withLastSeen(r.Status, r.LastSeen),
	}, nil
}

// withLastSeen puts lastSeen into the text of a status, so that not one digit of the rest changes. A status that is no
// object stays as it is.
func withLastSeen(status []byte, lastSeen *time.Time) json.RawMessage {
	if lastSeen == nil {
		return status
	}
	field := `{"lastSeen": "` + lastSeen.UTC().Format(time.RFC3339Nano) + `"`
	switch {
	case len(status) == 0 || string(status) == "null" || string(status) == "{}":
		return json.RawMessage(field + "}")
	case status[0] == '{':
		return json.RawMessage(field + ", " + string(status[1:]))
	default:
		return status
	}
}

type eventRow struct {
	commonRow
	Reason       string `db:"reason"`
	Component    string `db:"component"`
	Actor        string `db:"actor"`
	Type         string `db:"type"`
	Message      string `db:"message"`
	Details      []byte `db:"details"`
	InvolvedKind string `db:"involved_kind"`
	InvolvedName string `db:"involved_name"`
}

func (r eventRow) event() (Event, error) {
	metadata, err := r.metadata()
	if err != nil {
		return Event{}, err
	}
	return Event{
		OrgID:          r.OrgID,
		APIVersion:     APIVersion,
		Kind:           KindEvent,
		Metadata:       metadata,
		InvolvedObject: InvolvedObject{Kind: r.InvolvedKind, Name: r.InvolvedName},
		Reason:         r.Reason,
		Type:           r.Type,
		Source:         EventSource{Component: r.Component},
		Actor:          r.Actor,
		Message:        r.Message,
		Details:        r.Details,
	}, nil
}

// decodeStrings reads a JSON object of strings; nil for SQL's NULL and for JSON's.
func decodeStrings(text []byte) (map[string]string, error) {
	if text == nil {
		return nil, nil
	}
	var m map[string]string
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	return m, nil
}
