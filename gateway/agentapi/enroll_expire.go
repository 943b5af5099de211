package agentapi

import (
	"context"
	"time"

	"rollcall/inventory/posts"
	"rollcall/runbook"
)

// expireRequests lets pending requests expire that their agents have not posted again. It begins once the gateway has
// run for as long as a request may be old: a database that was just restored holds requests of the backup, and the
// restore that marks them is yet to begin.
func (g *Gateway) expireRequests(ctx context.Context) {
	wait := time.NewTimer(g.cfg.RequestTTL)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if err := g.expireSome(ctx); err != nil && ctx.Err() == nil {
			g.cfg.Logger.Warn("Old enrollment requests have not expired; it is tried again", "error", err)
		}
		wait.Reset(min(g.cfg.RequestTTL/4, sweepEvery))
	}
}

func (g *Gateway) expireSome(ctx context.Context) error {
	if err := g.standsAlone(ctx); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	names, err := posts.Expire(ctx, g.cfg.Store.DB(), g.cfg.OrgID, g.cfg.RequestTTL)
	if err != nil {
		return err
	}
	for _, name := range names {
		g.metrics.expired.Inc()
		g.cfg.Logger.Info("Enrollment request expired", "device", name, "after", g.cfg.RequestTTL)
		g.endEnrollment(ctx, name)
	}
	return posts.Forget(ctx, g.cfg.Store.DB(), g.cfg.OrgID)
}

// endEnrollment ends the wait of a request's workflow. One that cannot be told now goes on waiting, and its next
// decision finds that the request is gone.
func (g *Gateway) endEnrollment(ctx context.Context, name string) {
	err := g.cfg.Temporal.CancelWorkflow(ctx, runbook.EnrollmentWorkflowID(g.cfg.OrgID, name), "")
	if err != nil {
		g.cfg.Logger.Warn("Workflow of an expired enrollment request not ended", "device", name, "error", err)
	}
}
