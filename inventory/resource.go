package inventory

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"rollcall/inventory/fleetfile"
)

// APIVersion is the version of Flight Control's API in which resources are shown.
const APIVersion = fleetfile.APIVersion

// Kinds of resources, as their API form names them. A list's kind is the kind with "List" behind it.
const (
	KindDevice            = fleetfile.KindDevice
	KindFleet             = fleetfile.KindFleet
	KindEnrollmentRequest = fleetfile.KindEnrollmentRequest
	KindEvent             = "Event"
)

// Resource is a device, fleet or enrollment request in Flight Control's API form.
type Resource struct {
	// OrgID is the organisation's UUID. The API form does not show it.
	OrgID      string   `json:"-"`
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	// Spec and Status are the stored JSON, with every field and digit that they came with; nil where there is none. A
	// device's status.lastSeen is that of device_timestamps.
	Spec   json.RawMessage `json:"spec,omitempty"`
	Status json.RawMessage `json:"status,omitempty"`
}

// Metadata is what every resource has.
type Metadata struct {
	Name string `json:"name"`
	// Owner is "Fleet/NAME", or empty.
	Owner       string            `json:"owner,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Generation  int64             `json:"generation,omitempty"`
	// ResourceVersion counts the changes of the resource; a string, as Flight Control shows it.
	ResourceVersion   string     `json:"resourceVersion,omitempty"`
	CreationTimestamp *time.Time `json:"creationTimestamp,omitempty"`
	DeletionTimestamp *time.Time `json:"deletionTimestamp,omitempty"`
}

// Event is an entry of the events table in Flight Control's API form.
type Event struct {
	// OrgID is the organisation's UUID. The API form does not show it.
	OrgID          string         `json:"-"`
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Metadata       Metadata       `json:"metadata"`
	InvolvedObject InvolvedObject `json:"involvedObject"`
	Reason         string         `json:"reason"`
	// Type is "Normal" or "Warning".
	Type    string          `json:"type"`
	Source  EventSource     `json:"source"`
	Actor   string          `json:"actor"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details,omitempty"`
}

// InvolvedObject is what an event is about.
type InvolvedObject struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// EventSource is which part of the service wrote an event.
type EventSource struct {
	Component string `json:"component"`
}

// ResourceList is a list kind, such as a DeviceList, in Flight Control's API form.
type ResourceList[T Resource | Event] struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   ListMeta `json:"metadata"`
	Items      []T      `json:"items"`
}

// ListMeta is the metadata of a list.
type ListMeta struct {
	// Continue is where the next part of the list begins; empty where there is none.
	Continue string `json:"continue,omitempty"`
}

// List makes the list kind of kind, one of the Kind constants. No items are an empty list, never null, so that scripts
// can walk them.
func List[T Resource | Event](kind string, items []T) ResourceList[T] {
	if items == nil {
		items = []T{}
	}
	return ResourceList[T]{APIVersion: APIVersion, Kind: kind + "List", Items: items}
}

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
	details := json.RawMessage(r.Details)
	if string(details) == "null" { // as Flight Control writes that there are none
		details = nil
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
		Details:        details,
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
