package inventory

import (
	"encoding/json"
	"time"
)

// APIVersion is the version of Flight Control's API in which resources are shown.
const APIVersion = "flightctl.io/v1beta1"

// Kinds of resources, as their API form names them. A list's kind is the kind with "List" behind it.
const (
	KindDevice            = "Device"
	KindFleet             = "Fleet"
	KindEnrollmentRequest = "EnrollmentRequest"
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
	Metadata   struct{} `json:"metadata"`
	Items      []T      `json:"items"`
}

// List makes the list kind of kind, one of the Kind constants. No items are an empty list, never null, so that scripts
// can walk them.
func List[T Resource | Event](kind string, items []T) ResourceList[T] {
	if items == nil {
		items = []T{}
	}
	return ResourceList[T]{APIVersion: APIVersion, Kind: kind + "List", Items: items}
}
