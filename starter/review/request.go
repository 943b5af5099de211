package review

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// Request is what an operator looks at before they decide about an enrollment request.
type Request struct {
	Name      string                  `json:"name"`
	OrgID     string                  `json:"orgId"`
	State     runbook.EnrollmentState `json:"state"`
	DecidedBy string                  `json:"decidedBy,omitempty"`
	Created   *time.Time              `json:"created,omitempty"`
	Labels    map[string]string       `json:"labels,omitempty"`
	// KnownVersion is the version that the device says it runs.
	KnownVersion string `json:"knownVersion,omitempty"`
	// Key is how the request's key compares with the one known of its name, and Fingerprint which it is.
	Key         runbook.KeyMatch `json:"key"`
	Fingerprint string           `json:"fingerprint,omitempty"`
	// Begins is the state in which the device would begin were it approved now; Unapprovable is why it cannot be.
	Begins       runbook.State `json:"begins,omitempty"`
	Unapprovable string        `json:"unapprovable,omitempty"`
	// Unsignable is why no certificate can ever be signed of a pending request.
	Unsignable *runbook.Unsignable `json:"unsignable,omitempty"`
	// Unfinished is what is missing of an approval that Flight Control has begun, and Remedy what to do about it.
	Unfinished   runbook.Unfinished `json:"unfinished,omitempty"`
	Remedy       string             `json:"remedy,omitempty"`
	DeviceExists bool               `json:"deviceExists"`
	WorkflowID   string             `json:"workflowId"`
	WebUI        string             `json:"webUI,omitempty"`
	Timeline     []Entry            `json:"timeline"`
	Commands     []string           `json:"commands"`
}

// ReadRequest reads an enrollment request; nil is that there is none of the name.
func ReadRequest(ctx context.Context, store *inventory.Store, orgID, name string) (*Request, error) {
	q := inventory.Query{OrgID: orgID, Names: []string{name}}
	found, err := store.EnrollmentRequests(ctx, q)
	if err != nil {
		return nil, err
	}
	positions, err := store.Enrollments(ctx, q)
	if err != nil || len(found) == 0 || len(positions) == 0 {
		return nil, err
	}
	d, p := found[0], positions[0]
	r := &Request{
		Name: name, OrgID: orgID, State: p.State, DecidedBy: p.DecidedBy, Created: d.Metadata.CreationTimestamp,
		Key: p.Key, Fingerprint: p.Fingerprint, DeviceExists: p.DeviceExists, Unsignable: p.Unsignable,
		Unfinished: p.Unfinished, Remedy: p.Unfinished.Remedy(name),
		WorkflowID: runbook.EnrollmentWorkflowID(orgID, name),
	}
	r.readSpec(d.Spec)
	if p.State == runbook.EnrollmentPending {
		if refusal := runbook.MayApprove(p.Enrollment, name); refusal != nil {
			r.Unapprovable = refusal.Error()
		} else {
			r.Begins = p.Begins
		}
	}
	if r.Timeline, err = readStory(ctx, store, orgID, name); err != nil {
		return nil, err
	}
	r.Commands = r.suggest()
	return r, nil
}

// readSpec reads what it can of the request's spec. A known version is a string, or in older requests a number.
func (r *Request) readSpec(spec json.RawMessage) {
	var s struct {
		Labels map[string]string `json:"labels"`
		Known  any               `json:"knownRenderedVersion"`
	}
	if len(spec) > 0 {
		_ = json.Unmarshal(spec, &s)
	}
	r.Labels = s.Labels
	if s.Known != nil {
		r.KnownVersion = fmt.Sprint(s.Known)
	}
}

func (r *Request) suggest() []string {
	with := func(verb string, flags ...string) string {
		return printer.Command(r.OrgID, append([]string{verb, "enrollmentrequest", r.Name}, flags...)...)
	}
	var commands []string
	switch {
	case r.State == runbook.EnrollmentPending && r.Unapprovable == "":
		commands = append(commands, with("approve", "--reason", "known device"), with("deny", "--reason", "not ours"))
	case r.State == runbook.EnrollmentPending:
		commands = append(commands, with("deny", "--reason", "not ours"))
	}
	if r.DeviceExists {
		commands = append(commands, printer.Command(r.OrgID, "describe", "device", r.Name))
	}
	return append(commands, with("get", "-o", "yaml"))
}

// Text writes the request for people.
func (r *Request) Text(w io.Writer, now time.Time) error {
	state := string(r.State)
	if r.DecidedBy != "" {
		state += " by " + r.DecidedBy
	}
	begins := string(r.Begins)
	if r.Unapprovable != "" {
		begins = "nothing, an approval would be refused: " + r.Unapprovable
	}
	writeHead(w, [][2]string{
		{"Name", r.Name},
		{"Org", runbook.OrgName(r.OrgID)},
		{"State", state},
		{"Age", printer.Ago(now, r.Created)},
		{"Asks for", printer.OrNone(printer.Pairs(r.Labels))},
		{"Version", r.KnownVersion},
		{"Key", keyLine(r.Key, r.Fingerprint)},
		{"Approval", begins},
		{"Workflow", r.WorkflowID},
		{"Web UI", r.WebUI},
	})
	if warning := runbook.KeyWarning(r.Key); warning != "" {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
	if r.Unsignable != nil {
		fmt.Fprintf(w, "\nwarning: it %s\n", printer.OneLine(r.Unsignable.Message))
	}
	if r.Remedy != "" {
		fmt.Fprintf(w, "\nwarning: %s\n", printer.OneLine(r.Remedy))
	}
	if err := writeStory(w, r.Timeline); err != nil {
		return err
	}
	return writeNext(w, r.Commands)
}

// keyLine is which key a request holds, and how it compares with the one known.
func keyLine(key runbook.KeyMatch, fingerprint string) string {
	if fingerprint == "" {
		return string(key)
	}
	return string(key) + ", " + fingerprint
}
