// Package review collects what an operator looks at before they decide about a device.
package review

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Review is what an operator looks at before they decide about a device: what `describe -o json` prints, and what its
// text is made of.
type Review struct {
	Name  string `json:"name"`
	OrgID string `json:"orgId"`
	// Alias is the name that the operator used, where the device has another.
	Alias     string             `json:"alias,omitempty"`
	State     runbook.State      `json:"state"`
	Since     *time.Time         `json:"since,omitempty"`
	Summary   printer.StatusPart `json:"summary"`
	Lifecycle string             `json:"lifecycle,omitempty"`
	// Gone reports whether the inventory no longer holds the device: only its workflow or a roll still knows it.
	Gone bool `json:"gone,omitempty"`
	// RestoreID is the newest restore that has the device on its roll, and RestoreState what became of it.
	RestoreID    string               `json:"restoreId,omitempty"`
	RestoreState runbook.RestoreState `json:"restoreState,omitempty"`
	Mode         runbook.Mode         `json:"mode,omitempty"`
	// Restored is the version that the restore found, Reported what the device has reported since, and Rendered what the
	// service has rendered last. Of a device that no restore has found, Restored is what Rendered is.
	Restored string `json:"restoredVersion"`
	Reported string `json:"reportedVersion"`
	// HeldBack is how many reports were not told to the roll call, as the device has reported too often.
	HeldBack int64  `json:"heldBackReports,omitempty"`
	Rendered string `json:"renderedVersion"`
	// SpecInvalid is what Flight Control says of the spec that it could not render; empty where it could.
	SpecInvalid string `json:"specInvalid,omitempty"`
	// NextVersion is what a resume would render; empty where one would be refused, and Unresumable says why.
	NextVersion string `json:"nextVersion,omitempty"`
	Unresumable string `json:"unresumable,omitempty"`
	// LeftPaused reports whether the device has left the roll call and is paused in Flight Control.
	LeftPaused bool `json:"leftPaused,omitempty"`
	// LastSeenBefore is when the device was last seen before the restore, and LastSeen when it was since.
	LastSeenBefore *time.Time        `json:"lastSeenBefore,omitempty"`
	LastSeen       *time.Time        `json:"lastSeen,omitempty"`
	Owner          string            `json:"owner,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	// Source says where the spec comes from.
	Source specSource `json:"specSource"`
	// Spec is what the device is rendered from when its rendering runs again.
	Spec       json.RawMessage `json:"spec,omitempty"`
	WorkflowID string          `json:"workflowId"`
	// WorkflowNote says why the device's workflow has added nothing to the story.
	WorkflowNote string  `json:"workflowNote,omitempty"`
	WebUI        string  `json:"webUI,omitempty"`
	Timeline     []Entry `json:"timeline"`
	// Commands are what can be done next, ready to paste.
	Commands []string `json:"commands"`

	mayTakeUp bool
	// rollState is the state on the roll, which follows what Flight Control does to the device.
	rollState runbook.State
}

// ReadDevice reads what the database knows of the device; found is false where it knows nothing.
func (r *Review) ReadDevice(ctx context.Context, store *inventory.Store) (found bool, err error) {
	place, err := store.NewestPlace(ctx, r.OrgID, r.Name)
	if err != nil {
		return false, err
	}
	q := inventory.Query{OrgID: r.OrgID, Names: []string{r.Name}}
	devices, err := store.Devices(ctx, q)
	if err != nil {
		return false, err
	}
	positions, err := store.Position(ctx, q)
	if err != nil {
		return false, err
	}
	if len(devices) == 0 || len(positions) == 0 {
		r.Gone = true
		if place != nil {
			r.State = place.State
			r.takePlace(*place)
		}
		return place != nil, nil
	}
	if err := r.takeDevice(ctx, store, devices[0], positions[0]); err != nil {
		return true, err
	}
	if place != nil {
		r.takePlace(*place)
	}
	r.weighResume(positions[0], place)
	r.SpecInvalid, err = store.SpecInvalid(ctx, r.OrgID, r.Name)
	return true, err
}

// takeDevice takes over what the inventory says of the device.
func (r *Review) takeDevice(
	ctx context.Context, store *inventory.Store, d inventory.Resource, p inventory.DevicePosition,
) (err error) {
	status := printer.ReadDeviceStatus(d.Status)
	r.State, r.Since = p.State, p.Since
	r.Summary, r.Lifecycle, r.LastSeen = status.Summary, status.Lifecycle.Status, status.LastSeen
	r.Owner, r.Labels = d.Metadata.Owner, d.Metadata.Labels
	r.Rendered, r.Reported = runbook.OrZero(d.Metadata.Annotations[runbook.AnnotationRenderedVersion]),
		status.Config.RenderedVersion
	r.Restored = r.Rendered
	r.Source, r.Spec, err = findSpec(ctx, store, d)
	return err
}

// takePlace takes over what the newest roll says of the device. Its status says what it reports only once it is back:
// until then the status is the backup's, or that of the report that paused it.
func (r *Review) takePlace(p inventory.RollPlace) {
	r.RestoreID, r.RestoreState, r.Mode, r.mayTakeUp = p.RestoreID, p.RestoreState, p.Mode, p.MayTakeUp
	r.Restored, r.LastSeenBefore, r.HeldBack = runbook.OrZero(p.Restored), p.LastSeenBefore, p.HeldBack
	r.rollState = p.State
	if p.State == runbook.StateWithdrawn {
		r.LeftPaused = r.State == runbook.StateConflictPaused && p.Mode == runbook.ModeFlightctl
		r.State = p.State
	}
	if p.State != runbook.StateNormal || r.Reported == "" {
		r.Reported = p.Reported
	}
	if r.State == p.State {
		r.Since = &p.Since
	}
}

// weighResume asks the rules what a resume would come to now.
func (r *Review) weighResume(p inventory.DevicePosition, place *inventory.RollPlace) {
	if r.State != runbook.StateConflictPaused {
		return
	}
	if place != nil && place.ResumedBy != "" {
		r.Unresumable = place.ResumedBy + " has decided to resume it already; Flight Control carries that out"
		return
	}
	if r.Mode == runbook.ModeFlightctl && p.Reported == "" {
		r.Unresumable = "Flight Control has not stored which version the device runs; it can be resumed after its next status"
		return
	}
	if _, readable := runbook.FlightctlVersion(r.Rendered); r.Mode == runbook.ModeFlightctl && !readable {
		r.Unresumable = runbook.Unrenderable(r.Name, r.Rendered).Message
		return
	}
	next, err := p.MayResume(r.Lifecycle, runbook.OrZero(r.Reported))
	if err != nil {
		r.Unresumable = err.Error()
		return
	}
	r.NextVersion = next.String()
}

// TakeStory adds what the device's workflow tells to the story. known is false where only the workflow still knows the
// device.
func (r *Review) TakeStory(status runbook.DeviceStatus, known bool) {
	r.Timeline = merge(r.Timeline, status)
	if known {
		return
	}
	r.State, r.RestoreID, r.Since = status.State, status.RestoreID, &status.Since
	r.Restored, r.Reported = runbook.OrZero(status.Restored), status.Reported
	r.Rendered, r.Gone = "", true
}

// Suggest are what an operator does next with a device in this state. None of them would be refused as things stand.
func (r *Review) Suggest() []string {
	name := []string{"device", r.Name}
	with := func(verb string, flags ...string) string {
		return printer.Command(r.OrgID, append(append([]string{verb}, name...), flags...)...)
	}
	halted := r.RestoreState != "" && r.RestoreState != runbook.RestoreRunning
	switch {
	case r.State.Open() && (halted || r.RestoreID == ""):
		return r.callAgain()
	case r.State == runbook.StateAwaitingReconnect:
		var commands []string
		if _, err := runbook.ParseVersion(r.Restored); err == nil && r.Mode != runbook.ModeFlightctl && !r.leaves() {
			commands = append(commands, with("reconnect", "--rendered-version", r.Restored))
		}
		return append(commands, r.withdrawal())
	case r.State == runbook.StateConflictPaused && r.Unresumable != "":
		return append(r.reviewFleet(), r.withdrawal())
	case r.State == runbook.StateConflictPaused:
		return append(r.reviewFleet(),
			with("diff"),
			with("resume", "--expect-version", runbook.OrZero(r.Reported), "--reason", "checked on site"),
			r.withdrawal())
	case r.Gone:
		return []string{printer.Command(r.OrgID, "get", "transitions", r.Name)}
	case r.LeftPaused:
		return []string{"flightctl resume device/" + r.Name, with("get", "-o", "yaml")}
	}
	return []string{
		printer.Command(r.OrgID, "get", "events", "--field-selector=involvedObject.name="+r.Name),
		with("get", "-o", "yaml"),
	}
}

// callAgain is how to have a roll call listen to the device again, which waits and is on no roll of a restore that
// runs.
func (r *Review) callAgain() []string {
	if r.mayTakeUp {
		return []string{printer.Command("", "restore", "--id", r.RestoreID)}
	}
	return []string{printer.Command("", "restore", "--supersede", "--dry-run")}
}

// leaves reports whether the device may leave the roll call without a human's word: a report would withdraw it.
func (r *Review) leaves() bool {
	return r.Gone || runbook.MayWithdraw(true, false, r.Lifecycle, false) == nil
}

// withdrawal is how to take the device off the roll; one that is still managed takes a human's word.
func (r *Review) withdrawal() string {
	if r.leaves() {
		return printer.Command(r.OrgID, "withdraw", "device", r.Name, "--reason", "scrapped")
	}
	return printer.Command(r.OrgID, "withdraw", "device", r.Name, "--force", "--reason", "it will never come back")
}

// reviewFleet is how to look at the fleet that owns the device.
func (r *Review) reviewFleet() []string {
	fleet, owned := strings.CutPrefix(r.Owner, inventory.KindFleet+"/")
	if !owned {
		return nil
	}
	return []string{printer.Command(r.OrgID, "get", "fleet", fleet, "-o", "yaml")}
}
