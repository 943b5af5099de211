package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"rollcall/inventory"
	"rollcall/runbook"
)

// annotationKey tells in the JSON and YAML of an enrollment request how its key compares with the one known of its name. It
// is worked out at each look and stored nowhere.
const annotationKey = "rollcall/key"

// keyStandings are how the keys of the requests that q selects stand, by name.
func keyStandings(ctx context.Context, store *inventory.Store, q inventory.Query) (map[string]runbook.KeyStanding, error) {
	found, err := store.Enrollments(ctx, q)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]runbook.KeyStanding, len(found))
	for _, e := range found {
		keys[e.Name] = e.Key
	}
	return keys, nil
}

// withKeys annotates requests with how their keys stand.
func withKeys(ctx context.Context, store *inventory.Store, q inventory.Query, requests []inventory.Resource) error {
	keys, err := keyStandings(ctx, store, q)
	if err != nil {
		return err
	}
	for i, r := range requests {
		annotations := map[string]string{annotationKey: string(keys[r.Metadata.Name])}
		for name, value := range maps.All(r.Metadata.Annotations) {
			if name != annotationKey {
				annotations[name] = value
			}
		}
		requests[i].Metadata.Annotations = annotations
	}
	return nil
}

func requestRows(ctx context.Context, store *inventory.Store, q inventory.Query, wide bool, requests []inventory.Resource) (headers []string, rows [][]string, err error) {
	keys, err := keyStandings(ctx, store, q)
	if err != nil {
		return nil, nil, err
	}
	headers = []string{"NAME", "APPROVAL", "APPROVER", "APPROVED LABELS", "KEY"}
	if wide {
		headers = append(headers, "KNOWN VERSION", "AWAITS RECONNECT")
	}
	for _, r := range requests {
		row := append([]string{r.Metadata.Name}, approval(r.Status)...)
		row = append(row, orNone(string(keys[r.Metadata.Name])))
		if wide {
			awaits := r.Metadata.Annotations[runbook.AnnotationAwaitingReconnect] == runbook.AnnotationTrue
			row = append(row, knownVersion(r.Spec), fmt.Sprint(awaits))
		}
		rows = append(rows, row)
	}
	return headers, rows, nil
}

// approval is the decision about an enrollment request, who took it, and the labels they gave.
func approval(status json.RawMessage) []string {
	var s struct {
		Approval *struct {
			Approved   bool              `json:"approved"`
			ApprovedBy string            `json:"approvedBy"`
			Labels     map[string]string `json:"labels"`
		} `json:"approval"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	}
	if len(status) > 0 {
		_ = json.Unmarshal(status, &s)
	}
	denied := false
	for _, c := range s.Conditions {
		denied = denied || c.Type == "Denied" && c.Status == "True"
	}
	switch {
	case s.Approval == nil && denied:
		return []string{"Denied", none, none}
	case s.Approval == nil:
		return []string{"Pending", none, none}
	case s.Approval.Approved:
		return []string{"Approved", orNone(s.Approval.ApprovedBy), orNone(pairs(s.Approval.Labels))}
	}
	return []string{"Denied", orNone(s.Approval.ApprovedBy), orNone(pairs(s.Approval.Labels))}
}

// knownVersion is spec.knownRenderedVersion as it stands: a string, or in older requests a number.
func knownVersion(spec json.RawMessage) string {
	var s struct {
		Known any `json:"knownRenderedVersion"`
	}
	if len(spec) > 0 {
		_ = json.Unmarshal(spec, &s)
	}
	if s.Known == nil {
		return none
	}
	return fmt.Sprint(s.Known)
}
