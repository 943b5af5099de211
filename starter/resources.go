package main

import (
	"context"

	"rollcall/inventory"
)

// resources are what was read of one kind: of devices, fleets and enrollment requests, or of events.
type resources struct {
	object string
	items  []inventory.Resource
	events []inventory.Event
}

// read reads resources of the kind.
func (k kind) read(ctx context.Context, store *inventory.Store, q inventory.Query) (resources, error) {
	r := resources{object: k.object}
	var err error
	switch k.object {
	case inventory.KindEvent:
		r.events, err = store.Events(ctx, q)
	case inventory.KindFleet:
		r.items, err = store.Fleets(ctx, q)
	case inventory.KindEnrollmentRequest:
		r.items, err = store.EnrollmentRequests(ctx, q)
	default:
		r.items, err = store.Devices(ctx, q)
	}
	return r, err
}

func (r resources) len() int { return len(r.items) + len(r.events) }

func (r resources) names() []string {
	names := make([]string, 0, r.len())
	for _, item := range r.items {
		names = append(names, item.Metadata.Name)
	}
	for _, event := range r.events {
		names = append(names, event.Metadata.Name)
	}
	return names
}

// list is the list kind, in the API's form.
func (r resources) list() any {
	if r.object == inventory.KindEvent {
		return inventory.List(r.object, r.events)
	}
	return inventory.List(r.object, r.items)
}

// first is the first resource by itself, in the API's form. There must be one.
func (r resources) first() any {
	if r.object == inventory.KindEvent {
		return r.events[0]
	}
	return r.items[0]
}
