package agentapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"go.temporal.io/api/serviceerror"

	"rollcall/inventory"
	"rollcall/runbook"
)

// errNobodyWaits says that no workflow waits for a device that is on a running roll: the roll call is starting, or the
// device has left it just now.
var errNobodyWaits = errors.New("no workflow waits for the device yet")

// report tells the roll call that waits for the device which version it runs, readable or not, so that a refusal is on its
// timeline. It returns once that is durable. Where no roll call waits, or the conflict is about this version already, there
// is nothing to tell.
func (g *Gateway) report(ctx context.Context, d inventory.AgentDevice, version string) error {
	if d.RestoreID == "" || !d.State.Open() {
		return nil
	}
	version = presentable(version)
	if d.State == runbook.StateConflictPaused && sameVersion(version, d.Reported) {
		return nil
	}
	news := report{d.RestoreID, d.State, version}
	if g.courier.told(d.Name, news, time.Now()) {
		g.metrics.reports.WithLabelValues("repeated").Inc()
		return nil
	}
	if early := g.early(d); early != nil {
		if d.State == runbook.StateAwaitingReconnect && d.Seen && version != d.Current {
			// What was stored of it is not what it runs, and the inventory watch is not to report that in its place.
			if err := g.forgetSeen(ctx, d); err != nil {
				return err
			}
		}
		return g.turnAway(early)
	}
	if !g.flow.enter(d.Name, time.Now()) {
		g.metrics.reports.WithLabelValues("deferred").Inc()
		return g.comeAgain("many devices report at once; come again", nil)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	err := g.cfg.Temporal.SignalWorkflow(ctx, g.workflowID(d.Name), "", runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: version})
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &missing):
		g.calling.watch(d.RestoreID, time.Now())
		return g.notSent(d.Name, "the roll call is not ready for the device; try again", errNobodyWaits)
	case err != nil:
		return g.notSent(d.Name, "the roll call cannot be reached now; try again", err)
	}
	g.courier.keep(d.Name, news, time.Now())
	g.metrics.reports.WithLabelValues("sent").Inc()
	g.cfg.Logger.Info("Device reported", "device", d.Name, "restore", d.RestoreID, "version", version, "state", d.State)
	return nil
}

// early is what the agent of a device is told to which the roll call has not come, nil where it has.
func (g *Gateway) early(d inventory.AgentDevice) *problem {
	wait, early := g.calling.early(d.RestoreID, d.Seq, time.Now())
	if !early {
		return nil
	}
	return &problem{code: http.StatusServiceUnavailable, message: "the roll call has not come to the device yet; come again", again: wait}
}

func (g *Gateway) turnAway(early *problem) error {
	g.metrics.reports.WithLabelValues("early").Inc()
	return early
}

func (g *Gateway) forgetSeen(ctx context.Context, d inventory.AgentDevice) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return g.cfg.Store.ForgetSeen(ctx, d.OrgID, d.Name)
}

// notSent answers an agent whose report has reached nobody.
func (g *Gateway) notSent(name, message string, cause error) error {
	g.metrics.reports.WithLabelValues("failed").Inc()
	g.flow.failed(name, time.Now().Add(retryAfter))
	return g.comeAgain(message, cause)
}

// comeAgain sends an agent away until it is its turn.
func (g *Gateway) comeAgain(message string, cause error) error {
	return &problem{code: http.StatusServiceUnavailable, message: message, cause: cause, again: g.flow.comeAgain(time.Now(), retryAfter)}
}

// paced makes agents that cannot be answered now come again one after the other, whatever the cause: the database may be slow
// because so many ask it.
func (g *Gateway) paced(p *problem) *problem {
	if p.code != http.StatusServiceUnavailable || p.again > 0 {
		return p
	}
	g.flow.unanswered(time.Now())
	later := *p
	later.again = g.flow.comeAgain(time.Now(), retryAfter)
	return &later
}

// sameVersion compares a version with one in its stored form.
func sameVersion(version, stored string) bool {
	v, err := runbook.ParseVersion(version)
	return err == nil && v.String() == stored
}

// longestVersion is how much of a version that cannot be read is passed on; one that can has 19 digits at most.
const longestVersion = 60

// presentable is a version, or another word of an agent, as it may be stored, shown and sent on. A version that can be read
// stays as it is, and one that cannot still cannot: what a database or a terminal would stumble over is replaced by a sign
// that is no digit, and what is cut off is past all that a version can have.
func presentable(version string) string {
	version = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, version)
	if len(version) <= longestVersion {
		return version
	}
	return strings.ToValidUTF8(version[:longestVersion], "") + "…"
}
