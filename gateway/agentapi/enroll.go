package agentapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/enrollment"
	"rollcall/inventory"
	"rollcall/runbook"
)

// postRequest answers POST /enrollmentrequests. The request is acknowledged only once it is stored and its workflow is
// started, so that somebody is asked; whatever is missing, the agent's next attempt does.
func (g *Gateway) postRequest(w http.ResponseWriter, r *http.Request) error {
	body, err := g.readBody(w, r)
	if err != nil {
		return err
	}
	in, err := decodeRequest(body)
	if err != nil {
		return err
	}
	leave, err := g.enrolls.about(in.Name, g.cfg.OpenPerDevice)
	if err != nil {
		return err
	}
	defer leave()
	in.OrgID = g.cfg.OrgID
	var arrived inventory.Arrived
	err = g.enrolls.using(r.Context(), func(ctx context.Context) (err error) {
		arrived, err = g.cfg.Store.Arrive(ctx, in)
		return err
	})
	if err != nil {
		return err
	}
	if arrived.Refusal != nil {
		return problemf(http.StatusConflict, "%s", arrived.Refusal.Message)
	}
	if err := g.startEnrollment(r.Context(), arrived.Request); err != nil {
		return &problem{code: http.StatusServiceUnavailable, message: "the request is stored, but nobody can be asked about it now; try again", cause: err}
	}
	code := http.StatusOK
	if arrived.Arrival == runbook.ArrivalNew {
		code = http.StatusCreated
		g.cfg.Logger.Info("Enrollment requested", "device", in.Name, "restore", arrived.Request.RestoreID, "version", in.Known, "key", arrived.Key)
	}
	writeJSON(w, code, shown(arrived.Request))
	return nil
}

// getRequest answers GET /enrollmentrequests/{name}. It is also what finds a pending request whose workflow was never
// started, and an approved one that is to be signed.
func (g *Gateway) getRequest(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if r.ContentLength != 0 {
		return problemf(http.StatusBadRequest, "this call has no body")
	}
	if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
		return problemf(http.StatusBadRequest, "%q is not a name: %s", presentable(name), strings.Join(wrong, "; "))
	}
	leave, err := g.enrolls.about(name, g.cfg.OpenPerDevice)
	if err != nil {
		return err
	}
	defer leave()
	var request inventory.AgentRequest
	err = g.enrolls.using(r.Context(), func(ctx context.Context) (err error) {
		request, err = g.certified(ctx, name)
		return err
	})
	if err != nil {
		return err
	}
	if request.State == runbook.EnrollmentPending {
		g.ensureEnrollment(r.Context(), request)
	}
	writeJSON(w, http.StatusOK, shown(request))
	return nil
}

// startEnrollment starts the workflow of a pending request, unless that was done a moment ago.
func (g *Gateway) startEnrollment(ctx context.Context, r inventory.AgentRequest) error {
	now, which := time.Now(), r.Metadata.Name+" "+r.CreatedAt.UTC().Format(time.RFC3339Nano)
	if g.enrolls.started.since(which, now, startAgainAfter) {
		return nil
	}
	if g.cfg.Starter == nil {
		return errors.New("the gateway was given no way to start workflows")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	summary := "which arrived when no restore ran"
	if r.RestoreID != "" {
		summary = "which arrived while " + r.RestoreID + " was restored"
	}
	err := enrollment.Start(ctx, g.cfg.Starter, g.cfg.TaskQueue, summary, runbook.EnrollmentInput{
		OrgID: r.OrgID, Name: r.Metadata.Name, RestoreID: r.RestoreID,
	})
	if err == nil {
		g.enrolls.started.keep(which, now)
	}
	return err
}

// ensureEnrollment starts the workflow of a pending request that may have none. That it cannot be done now is no reason to
// keep from the agent what is true: that nobody has decided. While Temporal is away not every agent waits for it.
func (g *Gateway) ensureEnrollment(ctx context.Context, r inventory.AgentRequest) {
	const temporal = ""
	if g.enrolls.failed.since(temporal, time.Now(), retryAfter) {
		return
	}
	if err := g.startEnrollment(ctx, r); err != nil {
		g.enrolls.failed.keep(temporal, time.Now())
		g.cfg.Logger.Warn("Workflow of an enrollment request not started; the agent's next look does it again", "device", r.Metadata.Name, "error", err)
	}
}
