package printer

import (
	"context"
	"encoding/json"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// Withdrawn reads which of the devices that say that they wait were withdrawn from their roll call.
func Withdrawn(
	ctx context.Context, store *inventory.Store, orgID string, devices []inventory.Resource,
) (map[string]bool, error) {
	var names []string
	for _, d := range devices {
		if runbook.State(ReadDeviceStatus(d.Status).Summary.Status).Open() {
			names = append(names, d.Metadata.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return store.Withdrawn(ctx, orgID, names)
}

// System is the status of a device's summary, or that it was withdrawn from its roll call, which leaves the summary as
// it is.
func System(d inventory.Resource, withdrawn map[string]bool) string {
	status := ReadDeviceStatus(d.Status).Summary.Status
	if withdrawn[d.Metadata.Name] {
		return string(runbook.StateWithdrawn)
	}
	return status
}

// DeviceRows is the table of devices.
func DeviceRows(
	now time.Time, devices []inventory.Resource, withdrawn map[string]bool,
) (headers []string, rows [][]string) {
	for _, d := range devices {
		s := ReadDeviceStatus(d.Status)
		rows = append(rows, []string{
			d.Metadata.Name, OrNone(d.Metadata.Labels["alias"]), OrNone(d.Metadata.Owner), System(d, withdrawn),
			s.Updated.Status,
			s.ApplicationsSummary.Status, Ago(now, s.LastSeen),
		})
	}
	return []string{"NAME", "ALIAS", "OWNER", "SYSTEM", "UPDATED", "APPLICATIONS", "LAST SEEN"}, rows
}

// WidenDevices adds what the roll call knows of the devices.
func WidenDevices(
	ctx context.Context, store *inventory.Store, now time.Time, q inventory.Query, devices []inventory.Resource,
	headers []string, rows [][]string,
) ([]string, [][]string, error) {
	standings, err := store.Position(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	byName := make(map[string]inventory.DevicePosition, len(standings))
	for _, s := range standings {
		byName[s.Name] = s
	}
	for i, d := range devices {
		s := byName[d.Metadata.Name]
		rows[i] = append(rows[i], Ago(now, s.LastSeenBefore),
			runbook.OrZero(d.Metadata.Annotations[runbook.AnnotationRenderedVersion]), OrNone(s.Reported), OrNone(s.RestoreID),
			Pairs(d.Metadata.Labels))
	}
	return append(headers, "LAST SEEN BEFORE", "RENDERED", "REPORTED", "RESTORE", "LABELS"), rows, nil
}

// FleetRows is the table of fleets.
func FleetRows(fleets []inventory.Resource) (headers []string, rows [][]string) {
	for _, f := range fleets {
		rows = append(rows, []string{
			f.Metadata.Name, OrNone(f.Metadata.Owner),
			OrNone(ReadFleetSpec(f.Spec).LabelSelector().String()), valid(f.Status),
		})
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

// EventRows is the table of events.
func EventRows(now time.Time, wide bool, events []inventory.Event) (headers []string, rows [][]string) {
	headers = []string{"AGE", "INVOLVEDOBJECT.KIND", "INVOLVEDOBJECT.NAME", "TYPE", "MESSAGE"}
	if wide {
		headers = append(headers, "REASON", "ACTOR", "NAME")
	}
	for _, e := range events {
		row := []string{
			Ago(now, e.Metadata.CreationTimestamp), e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Type,
			e.Message,
		}
		if wide {
			row = append(row, e.Reason, e.Actor, e.Metadata.Name)
		}
		rows = append(rows, row)
	}
	return headers, rows
}
