package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// review is what an operator looks at before they decide about a device: what `describe -o json` prints, and what its text
// is made of.
type review struct {
	Name      string        `json:"name"`
	OrgID     string        `json:"orgId"`
	State     runbook.State `json:"state"`
	Since     *time.Time    `json:"since,omitempty"`
	Summary   statusPart    `json:"summary"`
	Lifecycle string        `json:"lifecycle,omitempty"`
	// Gone tells that the inventory does not hold the device any more, and only its workflow still waits for it.
	Gone           bool              `json:"gone,omitempty"`
	RestoreID      string            `json:"restoreId,omitempty"`
	Restored       string            `json:"restoredVersion"`
	Reported       string            `json:"reportedVersion"`
	NextVersion    string            `json:"nextVersion,omitempty"`
	LastSeenBefore *time.Time        `json:"lastSeenBefore,omitempty"`
	Owner          string            `json:"owner,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	// Source says where the spec comes from.
	Source specSource `json:"specSource"`
	// Spec is what the device is rendered from when its rendering runs again.
	Spec       json.RawMessage `json:"spec,omitempty"`
	WorkflowID string          `json:"workflowId"`
	// WorkflowNote says why the timeline is not the workflow's own but the database's.
	WorkflowNote string                  `json:"workflowNote,omitempty"`
	WebUI        string                  `json:"webUI,omitempty"`
	Timeline     []runbook.TimelineEntry `json:"timeline"`
	// Commands are what can be done next, ready to paste.
	Commands []string `json:"commands"`
}

// readDevice reads what the inventory knows; found is false where there is no such device.
func (r *review) readDevice(ctx context.Context, store *inventory.Store) (found bool, err error) {
	q := inventory.Query{OrgID: r.OrgID, Names: []string{r.Name}}
	devices, err := store.Devices(ctx, q)
	if err != nil || len(devices) == 0 {
		return false, err
	}
	standings, err := store.Standing(ctx, q)
	if err != nil || len(standings) == 0 {
		return false, err
	}
	d, s := devices[0], standings[0]
	status := readDeviceStatus(d.Status)
	r.State, r.Since, r.RestoreID = s.State, s.Since, s.RestoreID
	r.Summary, r.Lifecycle = status.Summary, status.Lifecycle.Status
	r.Restored, r.Reported, r.LastSeenBefore = runbook.OrZero(s.Restored), s.Reported, s.LastSeenBefore
	r.Owner, r.Labels = d.Metadata.Owner, d.Metadata.Labels
	if next, err := mayResume(s, r.Lifecycle, ""); err == nil {
		r.NextVersion = next.String()
	}
	r.Source, r.Spec, err = findSpec(ctx, store, d)
	return true, err
}

// takeStory takes over what the device's workflow tells. known is false where only the workflow still knows the device.
func (r *review) takeStory(status runbook.DeviceStatus, known bool) {
	r.Timeline = status.Timeline
	if known {
		return
	}
	r.State, r.RestoreID, r.Since = status.State, status.RestoreID, &status.Since
	r.Restored, r.Reported = runbook.OrZero(status.Restored), status.Reported
	r.Gone = true
}

// readAudit takes the story from the database, over all restores.
func (r *review) readAudit(ctx context.Context, store *inventory.Store) error {
	rows, err := store.Transitions(ctx, r.OrgID, r.Name, 100)
	if err != nil {
		return fmt.Errorf("read the audit of device %q: %w", r.Name, err)
	}
	r.Timeline = make([]runbook.TimelineEntry, len(rows))
	for i, row := range rows {
		r.Timeline[i] = auditEntry(row)
	}
	return nil
}

// commands are what an operator does next with a device in this state.
func (r *review) commands() []string {
	name := []string{"device", r.Name}
	with := func(verb string, flags ...string) string {
		return command(r.OrgID, append(append([]string{verb}, name...), flags...)...)
	}
	switch r.State {
	case runbook.StateAwaitingReconnect:
		return []string{with("reconnect", "--rendered-version", r.Restored), r.withdrawal()}
	case runbook.StateConflictPaused:
		return append(r.reviewFleet(),
			with("resume", "--expect-version", runbook.OrZero(r.Reported), "--reason", "checked on site"),
			r.withdrawal())
	}
	return []string{command(r.OrgID, "get", "events", "--field-selector=involvedObject.name="+r.Name), with("get", "-o", "yaml")}
}

// withdrawal is how to take the device off the roll; one that is still managed takes a human's word.
func (r *review) withdrawal() string {
	if r.Gone || runbook.MayWithdraw(true, false, r.Lifecycle, false) == nil {
		return command(r.OrgID, "withdraw", "device", r.Name, "--reason", "scrapped")
	}
	return command(r.OrgID, "withdraw", "device", r.Name, "--force", "--reason", "it will never come back")
}

// reviewFleet is how to look at the fleet that owns the device.
func (r *review) reviewFleet() []string {
	fleet, owned := strings.CutPrefix(r.Owner, inventory.KindFleet+"/")
	if !owned {
		return nil
	}
	return []string{command(r.OrgID, "get", "fleet", fleet, "-o", "yaml")}
}
