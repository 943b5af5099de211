package main

import (
	"context"
	"encoding/json"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// rows are the table of what was read.
func (o *getOptions) rows(ctx context.Context, store *inventory.Store, q inventory.Query, found resources) (headers []string, rows [][]string, err error) {
	wide, now := o.output.value == outputWide, o.io.Now()
	switch found.object {
	case inventory.KindEvent:
		headers, rows = eventRows(now, wide, found.events)
	case inventory.KindFleet:
		headers, rows = fleetRows(found.items)
	case inventory.KindEnrollmentRequest:
		return requestRows(ctx, store, q, wide, found.items)
	default:
		headers, rows = deviceRows(now, found.items)
		if wide {
			return widenDevices(ctx, store, q, found.items, headers, rows)
		}
	}
	return headers, rows, nil
}

func deviceRows(now time.Time, devices []inventory.Resource) (headers []string, rows [][]string) {
	for _, d := range devices {
		s := readDeviceStatus(d.Status)
		rows = append(rows, []string{
			d.Metadata.Name, orNone(d.Metadata.Labels["alias"]), orNone(d.Metadata.Owner), s.Summary.Status, s.Updated.Status,
			s.ApplicationsSummary.Status, ago(now, s.LastSeen),
		})
	}
	return []string{"NAME", "ALIAS", "OWNER", "SYSTEM", "UPDATED", "APPLICATIONS", "LAST SEEN"}, rows
}

// widenDevices adds what the roll call knows of the devices.
func widenDevices(ctx context.Context, store *inventory.Store, q inventory.Query, devices []inventory.Resource, headers []string, rows [][]string) ([]string, [][]string, error) {
	standings, err := store.Standing(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	byName := make(map[string]inventory.DeviceStanding, len(standings))
	for _, s := range standings {
		byName[s.Name] = s
	}
	for i, d := range devices {
		s := byName[d.Metadata.Name]
		rows[i] = append(rows[i], runbook.OrZero(d.Metadata.Annotations[runbook.AnnotationRenderedVersion]), orNone(s.Reported), orNone(s.RestoreID), pairs(d.Metadata.Labels))
	}
	return append(headers, "RENDERED", "REPORTED", "RESTORE", "LABELS"), rows, nil
}

func fleetRows(fleets []inventory.Resource) (headers []string, rows [][]string) {
	for _, f := range fleets {
		rows = append(rows, []string{f.Metadata.Name, orNone(f.Metadata.Owner), orNone(readFleetSpec(f.Spec).selector().String()), valid(f.Status)})
	}
	return []string{"NAME", "OWNER", "SELECTOR", "VALID"}, rows
}

// valid is the status of a fleet's condition "Valid", as Flight Control shows it.
func valid(status json.RawMessage) string {
	var s struct {
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	}
	if len(status) > 0 {
		_ = json.Unmarshal(status, &s)
	}
	for _, c := range s.Conditions {
		if c.Type == "Valid" {
			return c.Status
		}
	}
	return "Unknown"
}

func eventRows(now time.Time, wide bool, events []inventory.Event) (headers []string, rows [][]string) {
	headers = []string{"AGE", "INVOLVEDOBJECT.KIND", "INVOLVEDOBJECT.NAME", "TYPE", "MESSAGE"}
	if wide {
		headers = append(headers, "REASON", "ACTOR", "NAME")
	}
	for _, e := range events {
		row := []string{ago(now, e.Metadata.CreationTimestamp), e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Type, e.Message}
		if wide {
			row = append(row, e.Reason, e.Actor, e.Metadata.Name)
		}
		rows = append(rows, row)
	}
	return headers, rows
}
