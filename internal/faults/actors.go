package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"rollcall/internal/fault"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

const (
	callLimit = 10 * time.Second
	// askAgain is after how long a decision without an answer is put again, under its id.
	askAgain = 300 * time.Millisecond
)

// actor is an agent and an operator in one: it acts on any device in any way.
type actor struct {
	*run
	id     int
	random *rand.Rand
}

func (a *actor) act(ctx context.Context) {
	for ctx.Err() == nil {
		o := &a.orgs[a.random.IntN(len(a.orgs))]
		c := Call{Client: a.id, OrgID: o.id, Device: a.device(), By: fmt.Sprintf("operator-%d", a.id)}
		c.Version = fmt.Sprint(a.random.IntN(7) + 3)
		many := a.random.IntN(100)
		switch n := a.random.IntN(100); {
		case a.beside != nil:
			a.decideBeside(ctx, c, o, n)
		case many < 10:
			a.enroll(ctx, o)
		case many < 13:
			a.plan(ctx, o)
		case n < 3:
			c.Version = "v7"
			a.signal(ctx, c, runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: c.Version})
		case n < 35:
			a.put(ctx, c, o)
		case n < 42:
			a.signal(ctx, c, runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: c.Version})
		case n < 50:
			a.reconnect(ctx, c)
		case n < 80:
			a.resumeTogether(ctx, c)
		case n < 90:
			c.Version = ""
			a.signal(ctx, c, runbook.SignalResume, runbook.ResumeRequest{By: c.By})
		case n < 96:
			a.commandLine(ctx, c, o)
		case n < 98:
			a.withdraw(ctx, c)
		default:
			a.signal(ctx, c, runbook.SignalWithdraw, runbook.WithdrawSignal{By: c.By, Force: true})
		}
		wait(ctx, time.Duration(a.random.IntN(200))*time.Millisecond)
	}
}

// decideBeside decides about a device beside Flight Control, where agents report by themselves.
func (a *actor) decideBeside(ctx context.Context, c Call, o *organisation, n int) {
	switch {
	case n < 40:
		c.Version = "" // whatever it has reported
		a.resumeTogether(ctx, c)
	case n < 55:
		a.resumeTogether(ctx, c)
	case n < 70:
		c.Version = ""
		a.signal(ctx, c, runbook.SignalResume, runbook.ResumeRequest{By: c.By})
	case n < 85:
		a.commandLine(ctx, c, o)
	default:
		// A person's word for a version moves nothing there. The rows at the end show whether it did: an answer does not,
		// because a repetition of what the device has reported is accepted.
		_, err := a.update(ctx, c, a.id64("c"), runbook.UpdateReconnect,
			runbook.ReconnectRequest{RenderedVersion: c.Version, By: c.By})
		if err != nil {
			a.say("%s's word that %s runs %s has no answer: %v", c.By, c.Device, c.Version, err)
		}
	}
}

func (a *actor) device() string { return deviceName(a.random.IntN(a.options.Devices)) }

func deviceName(n int) string { return fmt.Sprintf("d-%03d", n) }

// put puts a status through the gateway of the organisation, with the certificate of the device.
func (a *actor) put(ctx context.Context, c Call, o *organisation) {
	c.Kind, c.Via, c.By, c.Start, c.Answer = Put, "gateway", "agent", time.Now(), Unknown
	body := fmt.Sprintf(`{"apiVersion": "v1beta1", "kind": "Device", "metadata": {"name": %q},
		"status": {"config": {"renderedVersion": %q}}}`, c.Device, c.Version)
	answered := a.send(ctx, o, c.Device, http.MethodPut, "/devices/"+c.Device+"/status", body)
	c.Detail = answered.said
	switch {
	case answered.code == http.StatusOK:
		c.Answer, c.Detail = Stored, ""
	case answered.refused():
		a.fail(fmt.Errorf("put of %s: %s", c.Device, answered.said))
	}
	a.record(c)
}

// signal sends a message that has no answer.
func (a *actor) signal(ctx context.Context, c Call, name string, message any) {
	c.Via, c.Start, c.Answer = "signal", time.Now(), Stored
	switch name {
	case runbook.SignalReconnect:
		c.Kind = Report
	case runbook.SignalResume:
		c.Kind = Resume
	case runbook.SignalWithdraw:
		c.Kind = Withdraw
	case runbook.SignalApprove:
		c.Kind = Approve
	case runbook.SignalDeny:
		c.Kind = Deny
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	ctx, sent := counting(ctx)
	if err := a.temporal.SignalWorkflow(ctx, c.workflowID(), "", name, message); err != nil {
		c.Answer, c.Detail = withoutAnswer(err, sent), err.Error()
	}
	a.record(c)
}

// resumeTogether has several operators decide about a device at the same time.
func (a *actor) resumeTogether(ctx context.Context, c Call) {
	var all sync.WaitGroup
	for i := range 1 + a.random.IntN(3) {
		c := c
		c.Client, c.By = a.id*10+i+100, fmt.Sprintf("operator-%d-%d", a.id, i)
		if a.random.IntN(2) == 0 {
			c.Version = ""
		}
		id := fmt.Sprintf("r-%d-%d", c.Client, a.random.Int64())
		all.Go(func() { a.resume(ctx, c, id) })
	}
	all.Wait()
}

// resume decides about a conflict.
func (a *actor) resume(ctx context.Context, c Call, id string) {
	c.Kind = Resume
	a.ask(ctx, c, id, runbook.UpdateResume, runbook.ResumeRequest{By: c.By, ExpectVersion: c.Version})
}

// reconnect reports on behalf of a device, and withdraw takes it off the roll.
func (a *actor) reconnect(ctx context.Context, c Call) {
	c.Kind = Report
	a.ask(ctx, c, a.id64("c"), runbook.UpdateReconnect, runbook.ReconnectRequest{RenderedVersion: c.Version, By: c.By})
}

func (a *actor) withdraw(ctx context.Context, c Call) {
	c.Kind = Withdraw
	a.ask(ctx, c, a.id64("w"), runbook.UpdateWithdraw, runbook.WithdrawRequest{By: c.By, Force: true})
}

// id64 is an id that no other update has.
func (a *actor) id64(kind string) string {
	return fmt.Sprintf("%s-%d-%d", kind, a.id, a.random.Int64())
}

// answer is what the answers to all updates have in common.
type answer struct {
	Accepted bool         `json:"accepted"`
	By       string       `json:"by"`
	Next     string       `json:"nextVersion"`
	Code     runbook.Code `json:"code"`
}

// ask sends an update, again and again under its id until it has an answer or the workflow is gone. A decision about a
// request is then sent once more, and must have the same answer.
func (a *actor) ask(ctx context.Context, c Call, id, name string, request any) {
	c.Via, c.Start, c.Answer = "update", time.Now(), Unknown
	defer func() { a.record(c) }()
	ctx, sent := counting(ctx)
	for range 5 {
		answered, err := a.update(ctx, c, id, name, request)
		var gone *serviceerror.NotFound
		switch {
		case err == nil && answered.Accepted:
			c.Answer, c.Next, c.Detail = Accepted, answered.Next, ""
			if c.decides() && answered.By != c.By {
				a.fail(fmt.Errorf("%s of %s by %s was accepted in the name of %s", c.Kind, c.Device, c.By, answered.By))
			}
		case err == nil:
			c.Answer, c.Detail = Refused, string(answered.Code)
		case errors.As(err, &gone):
			c.Answer, c.Detail = withoutAnswer(err, sent), err.Error()
			return
		default:
			c.Detail = err.Error()
			wait(ctx, askAgain)
			continue
		}
		a.repeat(c, func() (Answer, string) {
			again, err := a.update(ctx, c, id, name, request)
			switch {
			case err != nil:
				return Unknown, err.Error()
			case again.Accepted:
				return Accepted, ""
			}
			return Refused, fmt.Sprintf("%s by %s", again.Code, again.By)
		})
		return
	}
}

// withoutAnswer is the answer of a call that has failed. What Temporal's client has sent again may have been heard the
// first time: its workflow has ended with that, or Temporal has lost its database since.
func withoutAnswer(err error, sent *atomic.Int32) Answer {
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) && sent.Load() <= 1 {
		return Unheard
	}
	return Unknown
}

// sentKey is the key of a context whose value counts how often Temporal's client sends a request.
type sentKey struct{}

// counting returns a context with which requests to Temporal are counted.
func counting(ctx context.Context) (counted context.Context, sent *atomic.Int32) {
	sent = new(atomic.Int32)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

// countSent is the interceptor of a connection to Temporal that counts.
func countSent(
	ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	if sent, ok := ctx.Value(sentKey{}).(*atomic.Int32); ok {
		sent.Add(1)
	}
	return invoke(ctx, method, in, out, conn, options...)
}

func (a *actor) update(ctx context.Context, c Call, id, name string, request any) (answered answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	handle, err := a.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: c.workflowID(), UpdateID: id, UpdateName: name,
		Args: []any{request}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &answered)
	}
	return answered, err
}

// commandLine resumes a device with starter, which may be killed before or after it has asked.
func (a *actor) commandLine(ctx context.Context, c Call, o *organisation) {
	c.Kind, c.Via, c.Version, c.Start = Resume, "starter", "", time.Now()
	c.Answer, c.Detail = a.told(ctx, a.killAt("UpdateWorkflowExecution"), "resume", "device", c.Device, "--org", o.ref,
		"--as", c.By, "--timeout", callLimit.String(), "-o", "json")
	a.record(c)
}

// killAt draws whether an operator's command is killed before or after a call to Temporal; empty is that it is not.
func (a *actor) killAt(call string) string {
	plans := []string{call + ".before#1:kill", call + ".after#1:kill", "", "", ""}
	plan := plans[a.random.IntN(len(plans))]
	if !a.faulty() {
		return ""
	}
	return plan
}

// told runs starter and reads what it says of the one that it was to ask about.
func (a *actor) told(ctx context.Context, plan string, args ...string) (answer Answer, detail string) {
	out, err := a.operate(ctx, plan, args...)
	answer, detail = toldBy(out)
	if answer == Unknown && err != nil {
		detail = fmt.Sprintf("%.200s %.100s", err, detail)
	}
	return answer, detail
}

// operate runs starter as an operator does. plan is what happens to it; empty is nothing. The error has what it wrote
// to stderr.
func (r *run) operate(ctx context.Context, plan string, args ...string) (stdout []byte, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, r.program("starter"), args...)
	cmd.Env = append(os.Environ(), r.env(roles.Operator)...)
	cmd.Env = append(cmd.Env, fault.Env+"="+plan, "ROLLCALL_CONFIRM_ABOVE=100%")
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if what, met := strings.CutPrefix(line, "fault: "); met {
			r.broke(atPoint(what))
		}
	}
	return out.Bytes(), err
}

// toldBy reads what `starter resume -o json`, approve or deny has said of its one device or request. Its exit code 4 is
// both a refusal and an outcome that is not known. Where no workflow waits, as after the loss of Temporal's database,
// no device has answered.
func toldBy(output []byte) (a Answer, detail string) {
	type told struct {
		Code    runbook.Code
		Message string
	}
	var report struct {
		Resumed, Approved, Denied []string
		Refused, Unknown          []told
	}
	if json.Unmarshal(output, &report) != nil {
		return Unknown, ""
	}
	switch {
	case len(report.Resumed)+len(report.Approved)+len(report.Denied) > 0:
		return Accepted, ""
	case len(report.Refused) > 0 && report.Refused[0].Code == runbook.CodeNoRollCall:
		return Unknown, report.Refused[0].Message
	case len(report.Refused) > 0:
		return Refused, fmt.Sprintf("%s: %s", report.Refused[0].Code, report.Refused[0].Message)
	case len(report.Unknown) > 0:
		return Unknown, report.Unknown[0].Message
	}
	return Unknown, ""
}
