package agentapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/gateway/limits"
	"rollcall/internal/enrollment"
	"rollcall/inventory"
	"rollcall/runbook"
)

// postRequest answers POST /enrollmentrequests. It takes an EnrollmentRequest as JSON. The answer is 201 once the
// request is stored and its workflow is started. Otherwise the agent posts again.
func (g *Gateway) postRequest(w http.ResponseWriter, r *http.Request) error {
	if source := limits.Source(r.RemoteAddr); !g.enrolls.posts.Allow(source, time.Now()) {
		return g.refuse("rate", problemf(http.StatusTooManyRequests,
			"%s has posted %d enrollment requests within a minute, as many as it may", source, g.cfg.RequestsPerMinute))
	}
	body, err := g.readJSON(w, r, maxRequest)
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
	in.OrgID, in.MaxPending = g.cfg.OrgID, g.cfg.MaxPendingRequests
	var arrived inventory.SubmitRequestResult
	err = g.enrolls.using(r.Context(), func(ctx context.Context) (err error) {
		arrived, err = g.cfg.Store.SubmitRequest(ctx, in)
		return err
	})
	if errors.Is(err, inventory.ErrTooManyPending) {
		return g.refuse("pending", problemf(http.StatusTooManyRequests,
			"%d enrollment requests are pending, as many as may be; an operator has to decide about some", in.MaxPending))
	}
	if err != nil {
		return err
	}
	if arrived.Refusal != nil {
		return problemf(http.StatusConflict, "%s", arrived.Refusal.Message)
	}
	if err := g.startEnrollment(r.Context(), arrived.Request); err != nil {
		return &problem{
			code:    http.StatusServiceUnavailable,
			message: "the request is stored, but no one can be asked about it now; try again", cause: err,
		}
	}
	if arrived.Arrival != runbook.SubmissionNew {
		// Agents go on after 201 and 409 only: any other answer, 200 among them, makes them post again for ever.
		return problemf(http.StatusConflict, "enrollment request %q is there already; read it to see what becomes of it",
			in.Name)
	}
	g.cfg.Logger.Info("Enrollment requested", "device", in.Name, "restore", arrived.Request.RestoreID, "version",
		printable(in.Known), "key", arrived.Key)
	told := shown(arrived.Request)
	told.Spec = nil // the agent has just sent it
	writeJSON(w, http.StatusCreated, told)
	return nil
}

// getRequest answers GET /enrollmentrequests/{name}. It takes no body. It also starts the workflow of a pending
// request that has none, and signs an approved request that has no certificate.
func (g *Gateway) getRequest(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if r.ContentLength != 0 {
		return problemf(http.StatusBadRequest, "this call has no body")
	}
	if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
		return problemf(http.StatusBadRequest, "%q is not a name: %s", printable(name), strings.Join(wrong, "; "))
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

// ensureEnrollment starts the workflow of a pending request that may have none. That it cannot be done now is no
// reason to keep from the agent what is true: that no one has decided. While Temporal is away not every agent waits
// for it.
func (g *Gateway) ensureEnrollment(ctx context.Context, r inventory.AgentRequest) {
	const temporal = ""
	if g.enrolls.failed.since(temporal, time.Now(), retryAfter) {
		return
	}
	if err := g.startEnrollment(ctx, r); err != nil {
		g.enrolls.failed.keep(temporal, time.Now())
		g.cfg.Logger.Warn("Workflow of an enrollment request not started; the agent's next look does it again",
			"device", r.Metadata.Name, "error", err)
	}
}
