package agentapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"rollcall/inventory"
	"rollcall/runbook"
)

// putStatus answers PUT /devices/{name}/status. It takes a Device as JSON and stores its status. A version in
// status.config.renderedVersion is a report, and is told to the roll call before the status is stored. Where no
// workflow waits for the device yet, the report is noted on the roll and the status is stored, because an agent
// puts a status only when it has changed.
func (g *Gateway) putStatus(w http.ResponseWriter, r *http.Request, c caller) error {
	body, err := g.readJSON(w, r, maxBody)
	if err != nil {
		return err
	}
	agent, err := decodeStatus(body, c.name)
	if err != nil {
		return err
	}
	d, err := g.read(r.Context(), c)
	if err != nil {
		return err
	}
	if err := g.reportStatus(r.Context(), d, agent); err != nil {
		return err
	}
	ctx, cancel := bounded(r.Context())
	defer cancel()
	device, found, err := g.cfg.Store.PutStatus(ctx, g.cfg.OrgID, c.name, agent.status, agent.version)
	switch {
	case err != nil:
		return err
	case !found:
		return noDevice(c.name)
	}
	writeJSON(w, http.StatusOK, acknowledged(device))
	return nil
}

// reportStatus reports the version in a status to the roll call, where it is new. An error is the agent's answer, and
// then nothing is stored. A version that cannot be read is refused, told or not.
//
// A status names the version that the device runs, and a poll the newest one that it has received, which is higher for
// as long as an update waits, downloads or reboots into a new image. So a version that would let a waiting device
// through is kept on the roll until its agent's next poll. It counts where none comes for a while, and the inventory
// watch runs.
func (g *Gateway) reportStatus(ctx context.Context, d inventory.AgentDevice, agent agentStatus) error {
	if !agent.reports(d) {
		return agent.invalid
	}
	if agent.letsThrough(d) {
		ctx, cancel := bounded(ctx)
		defer cancel()
		return g.cfg.Store.NoteStatus(ctx, g.cfg.OrgID, inventory.NoteReportInput{
			RestoreID: d.RestoreID, Name: d.Name, Version: *agent.version,
		}, agent.updating)
	}
	err := g.report(ctx, d, *agent.version, false)
	if untold := errors.Is(err, errUntold); untold && agent.invalid == nil {
		return notReady(err)
	} else if err != nil && !untold && !errors.Is(err, errKept) {
		return err
	}
	return agent.invalid
}

// notReady is the answer to a report that is nowhere yet. An agent sends its status again after the time that it is
// told, six times; where its device reports too often, the report passes then.
func notReady(untold error) *problem {
	p := problemf(http.StatusServiceUnavailable, "the roll call is not ready for the device; try again")
	p.cause = untold
	var held heldBack
	if errors.As(untold, &held) {
		p.message, p.after = held.Error()+"; try again", held.wait
	}
	return p
}

// reports reports whether a status is a report to the roll call that waits for a device: it says a version. Of a paused
// device only a version past what it has reported is one: its poll says what it knows, and a resume renders past the
// higher.
func (a agentStatus) reports(d inventory.AgentDevice) bool {
	if a.version == nil || d.State != runbook.StateConflictPaused || a.invalid != nil {
		return a.version != nil
	}
	v, err := runbook.ParseVersion(*a.version)
	known, unknown := runbook.ParseVersion(d.Reported)
	return err == nil && (unknown != nil || v > known)
}

// letsThrough reports whether the version would let a device through that awaits its reconnect.
func (a agentStatus) letsThrough(d inventory.AgentDevice) bool {
	if d.RestoreID == "" || d.State != runbook.StateAwaitingReconnect {
		return false
	}
	decision, err := runbook.DecideReconnect(d.Restored, *a.version)
	return err == nil && decision.Transition == runbook.T2
}

// agentStatus is what an agent says of itself.
type agentStatus struct {
	status json.RawMessage
	// version is status.config.renderedVersion, nil where it is missing or null; invalid is why it is not one, and
	// version then says in words what it is.
	version *string
	invalid error
	// updating reports whether the agent says that it updates its device.
	updating bool
}

// decodeStatus reads a Device with its status. Fields that are not known are let through; the names of those that are
// count to the letter, as they do for PostgreSQL. What cannot be read is a 400.
func decodeStatus(body []byte, name string) (agentStatus, error) {
	device, err := object("the body", body)
	if err != nil {
		return agentStatus{}, err
	}
	if err := isDevice(device, name); err != nil {
		return agentStatus{}, err
	}
	if device["status"] == nil {
		return agentStatus{}, runbook.Refuse(runbook.CodeInvalidRequest, "the body has no status")
	}
	status, err := object("status", device["status"])
	if err != nil {
		return agentStatus{}, err
	}
	a := agentStatus{status: device["status"], updating: isUpdating(status["conditions"])}
	if isNull(status["config"]) {
		return a, nil
	}
	config, err := object("status.config", status["config"])
	if err != nil {
		return agentStatus{}, err
	}
	return a.withVersion(config["renderedVersion"]), nil
}

// isUpdating reports whether conditions that can be read say that a device is being updated.
func isUpdating(raw json.RawMessage) bool {
	var conditions []struct{ Type, Status string }
	return json.Unmarshal(raw, &conditions) == nil && slices.ContainsFunc(conditions,
		func(c struct{ Type, Status string }) bool { return c.Type == "Updating" && c.Status == "True" })
}

func (a agentStatus) withVersion(raw json.RawMessage) agentStatus {
	if isNull(raw) {
		return a
	}
	var version string
	if err := json.Unmarshal(raw, &version); err != nil {
		version = "JSON " + string(raw) // no digit, so it cannot be taken for a version on its way
	}
	_, a.invalid = runbook.ParseVersion(version)
	a.version = &version
	return a
}

func isDevice(device map[string]json.RawMessage, name string) error {
	var kind string
	if raw := device["kind"]; !isNull(raw) && (json.Unmarshal(raw, &kind) != nil || kind != inventory.KindDevice) {
		return runbook.Refuse(runbook.CodeInvalidRequest, "the body is not of kind %s", inventory.KindDevice)
	}
	if isNull(device["metadata"]) {
		return nil
	}
	metadata, err := object("metadata", device["metadata"])
	if err != nil {
		return err
	}
	var said string
	if raw := metadata["name"]; !isNull(raw) && (json.Unmarshal(raw, &said) != nil || said != name) {
		return runbook.Refuse(runbook.CodeInvalidRequest, "metadata.name is not %q, whose status this is", name)
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return raw == nil || bytes.Equal(raw, []byte("null")) }

// object reads a JSON object and nothing behind it; what names it in the refusal.
func object(what string, text []byte) (map[string]json.RawMessage, error) {
	var o map[string]json.RawMessage
	err := json.Unmarshal(text, &o)
	if err == nil && o == nil {
		err = errors.New("it is null")
	}
	if err != nil {
		return nil, runbook.Refuse(runbook.CodeInvalidRequest, "%s is not a JSON object: %v", what, err)
	}
	return o, nil
}
