package agentapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"go.temporal.io/api/serviceerror"

	"rollcall/inventory"
	"rollcall/inventory/posts"
	"rollcall/runbook"
)

// errNoWorkflow says that no workflow waits for a device that is on a running roll: the device has left it just now.
var errNoWorkflow = errors.New("no workflow waits for the device")

// What a poll is held with that has reported, and a workflow is yet to be told: errKept is a report that is on the roll
// and not lost, errUntold one that is nowhere yet.
var (
	errKept   = errors.New("the report is on the roll, and the device's workflow is yet to be told")
	errUntold = errors.New("the device's workflow is yet to be told")
)

// heldBack is an errUntold of a device that reports too often: the next report may be told after wait.
type heldBack struct{ wait time.Duration }

// Error says how long.
func (h heldBack) Error() string {
	return fmt.Sprintf("the device reports too often; the next report is told in %s", h.wait.Round(time.Second))
}

// Is reports that it is an errUntold.
func (heldBack) Is(target error) bool { return target == errUntold }

// report tells the roll call that waits for the device which version it runs, readable or not, so that a refusal is on
// its timeline. It returns once that is durable: on the roll, where the roll call has not come to the device, and in
// Temporal otherwise. Where no roll call waits, or the conflict is about this version already, there is nothing to
// tell. again says that the same poll has tried before.
func (g *Gateway) report(ctx context.Context, d inventory.AgentDevice, version string, again bool) error {
	if d.RestoreID == "" || !d.State.Open() {
		return nil
	}
	version = printable(version)
	if d.State == runbook.StateConflictPaused && sameVersion(version, d.Reported) {
		return nil
	}
	if d.State == runbook.StateAwaitingReconnect && !d.Called {
		called, err := g.note(ctx, d, version)
		if err != nil {
			return err
		}
		if !called {
			g.metrics.reports.WithLabelValues("noted").Inc()
			return nil // its workflow will begin with it
		}
		d.Noted = runbook.OrZero(version)
	}
	return g.tell(ctx, d, version, again)
}

// tell signals the device's workflow, which has been asked for. again is as in report.
func (g *Gateway) tell(ctx context.Context, d inventory.AgentDevice, version string, again bool) error {
	news := report{d.RestoreID, d.State, version}
	if g.reportDedup.isRepeated(d.Name, news, time.Now()) {
		g.metrics.reports.WithLabelValues("repeated").Inc()
		return nil
	}
	if wait, err := g.mayReport(ctx, d, version, again); err != nil {
		return err
	} else if wait > 0 {
		g.metrics.reports.WithLabelValues("held").Inc()
		if err := g.keep(ctx, d, version); !errors.Is(err, errUntold) {
			return err
		}
		return heldBack{wait}
	}
	if err := g.awaitTurn(ctx, d.Name); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return g.keep(ctx, d, version)
	}
	if d.Noted != "" {
		// What was noted before is older, and the watch must not tell it after this report.
		if _, err := g.note(ctx, d, version); err != nil {
			return err
		}
	}
	err := g.signal(ctx, d.Name, version)
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &missing):
		g.flow.answered(d.Name)
		return g.keep(ctx, d, version)
	case err != nil:
		g.metrics.reports.WithLabelValues("failed").Inc()
		g.flow.failed(d.Name, time.Now().Add(retryAfter))
		if d.State == runbook.StateAwaitingReconnect { // the watch tells it, before anything older that was said
			if _, err := g.note(ctx, d, version); err != nil {
				return err
			}
		}
		return &problem{
			code: http.StatusServiceUnavailable, message: "the roll call cannot be reached now; try again",
			cause: err,
		}
	}
	g.reportDedup.remember(d.Name, news, time.Now())
	g.metrics.reports.WithLabelValues("sent").Inc()
	g.cfg.Logger.Info("Device reported", "device", d.Name, "restore", d.RestoreID, "version", version, "state", d.State)
	return nil
}

// mayReport is after how long a report may be told, 0 where it may be now. A device that reports ever other versions
// would fill the audit: it may do so a few times, and then now and then. A held poll tells the newest as soon as it
// may, and the agent of a status is told when to send it again. The first report that can be read moves the device, and
// is not counted.
func (g *Gateway) mayReport(
	ctx context.Context, d inventory.AgentDevice, version string, again bool,
) (wait time.Duration, err error) {
	_, unread := runbook.ParseVersion(version)
	if unread == nil && d.State == runbook.StateAwaitingReconnect && !g.reportDedup.isRecent(d.Name, time.Now()) {
		return 0, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return posts.MayReport(ctx, g.cfg.Store.DB(), d.RestoreID, d.OrgID, d.Name, !again)
}

// turnTimeout is how long a report waits for its turn before it is written to the roll instead, and told later.
const turnTimeout = 5 * time.Second

// awaitTurn waits a while for a place among the reports that are under way.
func (g *Gateway) awaitTurn(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	return g.flow.enter(ctx, name)
}

// signal tells a device's workflow which version the device runs.
func (g *Gateway) signal(ctx context.Context, name, version string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return g.cfg.Temporal.SignalWorkflow(ctx, g.workflowID(name), "", runbook.SignalReconnect,
		runbook.ReconnectSignal{RenderedVersion: version, Agent: true})
}

// keep is for a report that no workflow could be told now: a device's first report is kept on the roll.
func (g *Gateway) keep(ctx context.Context, d inventory.AgentDevice, version string) error {
	if d.State != runbook.StateAwaitingReconnect {
		return errUntold
	}
	if _, err := g.note(ctx, d, version); err != nil {
		return err
	}
	g.metrics.reports.WithLabelValues("noted").Inc()
	return errKept
}

// note writes a report to the device's row of the roll, unless it is there already. called reports whether the roll
// call has come to the device: its workflow must be told. A roll call that does not wait for the device's first report
// is errNoWorkflow.
func (g *Gateway) note(ctx context.Context, d inventory.AgentDevice, version string) (called bool, err error) {
	if d.State != runbook.StateAwaitingReconnect || runbook.OrZero(version) == d.Noted {
		return d.Called, nil
	}
	noted, found, err := g.notes.note(ctx,
		inventory.NoteReportInput{RestoreID: d.RestoreID, Name: d.Name, Version: version})
	switch {
	case err != nil:
		return false, err
	case !found:
		return false, &problem{
			code:    http.StatusServiceUnavailable,
			message: "the roll call is not ready for the device; try again", cause: errNoWorkflow,
		}
	}
	return noted.Called, nil
}

// sameVersion compares a version with one in its stored form.
func sameVersion(version, stored string) bool {
	v, err := runbook.ParseVersion(version)
	return err == nil && v.String() == stored
}

// longestVersion is how much of a version that cannot be read is passed on; one that can has 19 digits at most.
const longestVersion = 60

// printable returns a version, or another text of an agent, in a form that can be stored, shown and sent on. A valid
// version does not change, and an invalid one stays invalid: characters that cannot be printed are replaced by one
// that is no digit, and no valid version is long enough to be cut.
func printable(version string) string {
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
