package faults

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

// newcomer is an agent that asks to be let in.
type newcomer struct {
	name, csr string
	// known is the version that it says it runs.
	known string
	// inBackup reports whether the restored database has its request.
	inBackup bool
}

// awaits reports whether its device awaits its reconnect once it is approved. A version that cannot be read does.
func (n newcomer) awaits() bool { return n.inBackup || n.known != "" && n.known != "0" }

func newNewcomer(n int) (newcomer, error) {
	name := fmt.Sprintf("e-%03d", n)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return newcomer{}, fmt.Errorf("make the key of %s: %w", name, err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return newcomer{}, fmt.Errorf("make the signing request of %s: %w", name, err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	known := []string{"", "7", "0", "v7", ""}[n%5]
	return newcomer{name: name, csr: string(csr), known: known, inBackup: n%5 == 0}, nil
}

// request is its enrollment request in JSON.
func (n newcomer) request() string {
	spec := map[string]any{"csr": n.csr}
	if n.known != "" {
		spec["knownRenderedVersion"] = n.known
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "flightctl.io/v1beta1", "kind": "EnrollmentRequest", "metadata": map[string]string{"name": n.name},
		"spec": spec, "status": map[string]any{"conditions": []string{}},
	})
	if err != nil {
		panic(err) // it holds strings alone
	}
	return string(text)
}

// call is a call about the request of a newcomer.
func (n newcomer) call(client int, o *organisation, kind Kind) Call {
	return Call{
		Client: client, OrgID: o.id, Device: n.name, Request: true, Awaits: n.awaits(), Kind: kind, By: "agent",
		Via: "gateway", Start: time.Now(), Answer: Unknown,
	}
}

// enroll has an agent ask to be let in, some operators decide about it at the same time, and the agent look what has
// become of that. It begins when the devices are on the roll: until then approvals wait.
func (a *actor) enroll(ctx context.Context, o *organisation) {
	n := o.newcomers[a.random.IntN(len(o.newcomers))]
	if !a.begun.Load() && !a.ready(ctx) {
		return
	}
	a.begun.Store(true)
	if a.random.IntN(2) == 0 {
		a.post(ctx, o, n)
	}
	var all sync.WaitGroup
	for i := range a.random.IntN(4) {
		c := n.call(a.id*10+i+200, o, Approve)
		if a.random.IntN(3) == 0 {
			c.Kind = Deny
		}
		c.By = fmt.Sprintf("operator-%d-%d", a.id, i)
		decide := a.decision(c, o)
		all.Go(func() { decide(ctx) })
	}
	all.Wait()
	a.see(ctx, o, n)
}

// decision draws in which way an operator decides about a request.
func (a *actor) decision(c Call, o *organisation) func(context.Context) {
	id := a.id64("e")
	message, request := runbook.UpdateApprove, any(runbook.ApproveRequest{By: c.By}) // a signal has the same name
	if c.Kind == Deny {
		message, request = runbook.UpdateDeny, runbook.DenyRequest{By: c.By}
	}
	plan := a.killAt("ExecuteMultiOperation")
	switch a.random.IntN(5) {
	case 0:
		return func(ctx context.Context) { a.signal(ctx, c, message, request) }
	case 1:
		return func(ctx context.Context) { a.decideByCommand(ctx, c, o, id, plan) }
	}
	return func(ctx context.Context) { a.ask(ctx, c, id, message, request) }
}

// decideByCommand decides with starter. A command that was killed is given again under its id.
func (a *actor) decideByCommand(ctx context.Context, c Call, o *organisation, id, plan string) {
	c.Via, c.Start = "starter", time.Now()
	args := []string{
		string(c.Kind), "er/" + c.Device, "--org", o.ref, "--as", c.By, "--request-id", id,
		"--timeout", callLimit.String(), "-o", "json",
	}
	if c.Answer, c.Detail = a.told(ctx, plan, args...); c.Answer == Unknown {
		c.Answer, c.Detail = a.told(ctx, "", args...)
	}
	a.repeat(c, func() (Answer, string) { return a.told(ctx, "", args...) })
	a.record(c)
}

// repeat gives the command of a decision about a request once more. Its answer is the same, or that the request was
// decided by the one who asks, as a workflow says that was started since. What no one has recorded, because there was
// no request or because the database was put back, may be answered otherwise.
func (a *actor) repeat(c Call, again func() (answer Answer, detail string)) {
	unrecorded := a.options.Disasters || strings.HasPrefix(c.Detail, string(runbook.CodeNotFound))
	if !c.Request || c.Answer == Unknown || unrecorded {
		return
	}
	second, detail := again()
	own := c.Answer == Accepted && second == Refused && strings.Contains(detail, " by "+c.By)
	if second != Unknown && second != c.Answer && !own {
		a.fail(fmt.Errorf("%s: the same command was %s when it was given again: %s", c, second, detail))
	}
}

const requestsPath = "/enrollmentrequests"

// post posts a request.
func (a *actor) post(ctx context.Context, o *organisation, n newcomer) {
	c := n.call(a.id, o, Post)
	answered := a.send(ctx, o, "", http.MethodPost, requestsPath, n.request())
	c.Detail = answered.said
	switch {
	case answered.code == http.StatusCreated:
		c.Answer, c.Detail = Accepted, ""
	case answered.code == http.StatusConflict: // it is there
		c.Answer = Refused
	case answered.refused():
		a.fail(fmt.Errorf("post of %s: %s", n.name, answered.said))
	}
	a.record(c)
}

// see looks what has become of a request. A call without an answer says nothing.
func (a *actor) see(ctx context.Context, o *organisation, n newcomer) {
	c := n.call(a.id, o, See)
	answered := a.send(ctx, o, "", http.MethodGet, requestsPath+"/"+n.name, "")
	c.Answer = Accepted
	switch {
	case answered.code == http.StatusNotFound:
	case answered.code == http.StatusOK:
		var err error
		if c.Found.State, err = seen(answered.body); err != nil {
			a.fail(fmt.Errorf("look at %s: %w", n.name, err))
			return
		}
	case answered.refused():
		a.fail(fmt.Errorf("look at %s: %s", n.name, answered.said))
		return
	default:
		return
	}
	a.record(c)
}

// seen is what an agent learns of its request. An approval comes with a certificate.
func seen(body []byte) (runbook.EnrollmentState, error) {
	var read struct {
		Status struct {
			Certificate string
			Conditions  []struct{ Type string }
		}
	}
	if err := json.Unmarshal(body, &read); err != nil {
		return "", err
	}
	state := runbook.EnrollmentPending
	for _, c := range read.Status.Conditions {
		if kind := runbook.EnrollmentState(c.Type); kind == runbook.EnrollmentApproved || kind == runbook.EnrollmentDenied {
			state = kind
		}
	}
	if certified := read.Status.Certificate != ""; certified != (state == runbook.EnrollmentApproved) {
		return "", fmt.Errorf("it is %s, and that it has a certificate is %t", state, certified)
	}
	return state, nil
}

// answered is what a gateway has answered; the code is 0 where it has not.
type answered struct {
	code int
	said string
	body []byte
}

// refused reports whether the gateway says that the call is wrong, and not that it should be made again.
func (a answered) refused() bool {
	return a.code >= http.StatusBadRequest && a.code < http.StatusInternalServerError &&
		a.code != http.StatusTooManyRequests
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 1 << 20

// send sends a call to the gateway of an organisation as the agent of a device, or as one without a device, which has
// a bootstrap certificate.
func (a *actor) send(ctx context.Context, o *organisation, device, method, path, body string) answered {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	agent, err := a.clientOf(o, device)
	if err != nil {
		a.fail(err)
		return answered{said: err.Error()}
	}
	request, err := http.NewRequestWithContext(ctx, method, "https://"+o.gateway+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		a.fail(err)
		return answered{said: err.Error()}
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := agent.Do(request)
	if err != nil {
		return answered{said: err.Error()}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answered{said: err.Error()}
	}
	return answered{response.StatusCode, fmt.Sprintf("%s: %.200s", response.Status, text), text}
}

// clientOf is the HTTP client of a device, with its certificate, or one with a bootstrap certificate.
func (r *run) clientOf(o *organisation, device string) (*http.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.agents[o.id+"/"+device]; known != nil {
		return known, nil
	}
	pair, err := r.ca.EnrollmentOf(o.id, "", time.Hour)
	if device != "" {
		pair, err = r.ca.DeviceOf(authority.Subject{Device: device, Organisation: o.id}, time.Hour)
	}
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %q: %w", device, err)
	}
	made := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: r.ca.Pool(), Certificates: []tls.Certificate{certificate},
		},
	}}
	if r.agents == nil {
		r.agents = map[string]*http.Client{}
	}
	r.agents[o.id+"/"+device] = made
	return made, nil
}

const selectRequest = `select (select count(*) from rollcall.transitions t
		where t.org_id = $1 and t.name = $2 and t.signal in ('approve', 'deny') and t.code = '') as decisions,
	coalesce((select t.actor from rollcall.transitions t
		where t.org_id = $1 and t.name = $2 and t.signal in ('approve', 'deny') and t.code = '' order by t.id desc limit 1),
		'') as by,
	(select count(*) from devices d where d.org_id = $1 and d.name = $2 and d.deleted_at is null) as devices,
	coalesce((select rollcall.device_state(d.annotations) from devices d
		where d.org_id = $1 and d.name = $2 and d.deleted_at is null), '') as device,
	(select count(*) from rollcall.roll r where r.org_id = $1 and r.name = $2) as on_roll`

// lookAtRequests reads where the requests of an organisation stand, with the devices that were made of them.
func (r *run) lookAtRequests(ctx context.Context, o organisation, end time.Time) error {
	stand, err := r.store.Enrollments(ctx, inventory.Query{OrgID: o.id})
	if err != nil {
		return err
	}
	for _, n := range o.newcomers {
		c := n.call(0, &o, Look)
		c.Answer = Accepted
		if err := r.store.DB().GetContext(ctx, &c.Found, selectRequest, o.id, n.name); err != nil {
			return fmt.Errorf("read the request of %s: %w", n.name, err)
		}
		for _, e := range stand {
			if e.Name == n.name {
				c.Found.State = e.State
			}
		}
		c.Start, c.End = end.Add(time.Millisecond), end.Add(time.Second)
		r.result.Calls = append(r.result.Calls, c)
	}
	return nil
}

// requestsBusy says which pending request has a decision that is yet to be read, or no workflow that could read one;
// empty is none.
func (r *run) requestsBusy(ctx context.Context) (string, error) {
	for _, o := range r.orgs {
		stand, err := r.store.Enrollments(ctx, inventory.Query{OrgID: o.id})
		if err != nil {
			return "", err
		}
		for _, e := range stand {
			if e.State != runbook.EnrollmentPending {
				continue
			}
			id := runbook.EnrollmentWorkflowID(e.OrgID, e.Name)
			if runs, err := r.runs(ctx, id); err != nil || !runs {
				return id + " does not run", err
			}
			if busy, err := r.reads(ctx, id); busy != "" || err != nil {
				return busy, err
			}
		}
	}
	return "", nil
}
