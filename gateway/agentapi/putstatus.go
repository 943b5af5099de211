package agentapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// putStatus answers PUT /devices/{name}/status. A version past what the roll call knows is a report as a poll's is; it is
// told before the status is stored, so that whoever reads the status finds the roll call informed. Of a device that the roll
// call has not come to, a status is stored that was not, or that says another version than the one before: so it is seen to be
// back, and the inventory watch reports the version when its turn has come. Otherwise its agent is told when to come again,
// before a fleet of them costs as many writes.
func (g *Gateway) putStatus(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := g.readBody(w, r)
	if err != nil {
		return err
	}
	agent, err := decodeStatus(body, name)
	if err != nil {
		return err
	}
	d, err := g.read(r.Context(), name)
	if err != nil {
		return err
	}
	early := g.early(d)
	switch {
	case early != nil && agent.invalid == nil && d.State == runbook.StateAwaitingReconnect:
		if d.Seen && agent.said() == d.Current {
			return g.turnAway(early)
		}
	case agent.invalid != nil || agent.version != nil && aheadOf(*agent.version, d):
		if err := g.report(r.Context(), d, *agent.version); err != nil {
			return err
		}
	}
	if agent.invalid != nil {
		return agent.invalid
	}
	ctx, cancel := bounded(r.Context())
	defer cancel()
	device, found, err := g.cfg.Store.PutStatus(ctx, g.cfg.OrgID, name, agent.status, agent.version)
	switch {
	case err != nil:
		return err
	case !found:
		return noDevice(name)
	}
	writeJSON(w, http.StatusOK, device)
	return nil
}

// aheadOf tells whether a version is past what is known of a device: what was restored, or what it reported since. A
// restored version that cannot be read counts as none.
func aheadOf(version string, d inventory.AgentDevice) bool {
	v, err := runbook.ParseVersion(version)
	if err != nil {
		return false
	}
	known := d.Restored
	if d.State == runbook.StateConflictPaused {
		known = d.Reported
	}
	k, err := runbook.ParseVersion(known)
	return err != nil && v > 0 || v > k
}

// readBody reads a body that is neither too large nor too slow.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A server that cannot set one has read the body already.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout))
	if r.ContentLength > maxBody {
		drain(r)
		return nil, tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case isTooLarge(err):
		drain(r)
		return nil, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problemf(http.StatusRequestTimeout, "the body did not come within %s", g.cfg.BodyTimeout)
	case err != nil:
		return nil, problemf(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	return body, nil
}

// drain reads what is left of a body, within bounds, and forgets it: a client that is still sending when the connection is
// closed sees that, and not the answer. One that asks before it sends need not send.
func drain(r *http.Request) {
	if r.ContentLength <= maxDrained && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
	}
}

func tooLarge() *problem {
	return problemf(http.StatusRequestEntityTooLarge, "a body may hold %d bytes", maxBody)
}

// agentStatus is what an agent says of itself.
type agentStatus struct {
	status json.RawMessage
	// version is status.config.renderedVersion, nil where it is missing or null; invalid is why it is not one, and version then
	// says in words what it is.
	version *string
	invalid error
}

// said is the version as it is stored: none is the empty one.
func (a agentStatus) said() string {
	if a.version == nil {
		return ""
	}
	return *a.version
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
	a := agentStatus{status: device["status"]}
	if isNull(status["config"]) {
		return a, nil
	}
	config, err := object("status.config", status["config"])
	if err != nil {
		return agentStatus{}, err
	}
	return a.withVersion(config["renderedVersion"]), nil
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
