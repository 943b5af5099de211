package agentapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// maxReads bounds how often a poll reads again without a pause where its device moves between two reads.
const maxReads = 4

// poll is one request for a rendered version newer than the one that the agent knows.
type poll struct {
	*Gateway
	caller
	// began is when the request came to the poll.
	began time.Time
	// version is as the agent reports it, and known what it reads as; invalid is why it cannot be read.
	version string
	known   runbook.Version
	invalid error
	// restoreID is the roll call that the poll has answered.
	restoreID string
	// credentials are those that the certificate was found good by.
	credentials inventory.Credentials
	// untold reports whether the device's workflow is yet to be told of the report.
	untold bool
	// refused reports whether it was said why the device is not rendered.
	refused bool
}

// rendered answers GET /devices/{name}/rendered?knownRenderedVersion=VERSION, the poll of an agent. It takes no
// body. The version is the device's report to the roll call. A newer version is the answer once it is rendered,
// which it is not while the device waits or is paused. The poll is held until then, for 3 minutes at most, and
// then answered 204. Load alone ends no poll, except one above the gateway's limit of held polls.
func (g *Gateway) rendered(w http.ResponseWriter, r *http.Request, c caller) error {
	if r.ContentLength != 0 {
		return problemf(http.StatusBadRequest, "a poll has no body")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problemf(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	defer g.polling.Add(-1)
	if g.polling.Add(1) > int64(g.cfg.MaxHeldPolls) {
		return problemf(http.StatusServiceUnavailable, "the gateway holds %d polls, as many as it may; come again",
			g.cfg.MaxHeldPolls)
	}
	p := poll{Gateway: g, caller: c, began: time.Now()}
	if p.version, err = only(query["knownRenderedVersion"]); err != nil {
		return err
	}
	p.known, p.invalid = runbook.ParseVersion(p.version)
	woken, leave := g.polls.join(c.name) // before the device is read, so that no move falls between
	defer leave()
	d, err := p.answerRoll(r.Context())
	if err != nil {
		return err
	}
	g.lastSeen.note(c.name, p.began)
	device, err := p.hold(r.Context(), d, woken)
	if err != nil {
		return err
	}
	if device == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	writeJSON(w, http.StatusOK, device)
	return nil
}

// look reads the device.
func (p *poll) look(ctx context.Context) (inventory.AgentDevice, error) {
	d, err := p.read(ctx, p.caller)
	p.credentials = d.Credentials
	return d, err
}

// answerRoll reads the device, and reports its version where a roll call waits for it.
func (p *poll) answerRoll(ctx context.Context) (inventory.AgentDevice, error) {
	for left := maxReads; ; left-- {
		d, err := p.look(ctx)
		if err != nil {
			return d, err
		}
		p.restoreID = d.RestoreID
		err = p.report(ctx, d, p.version, false)
		if p.untold = errors.Is(err, errKept) || errors.Is(err, errUntold); p.untold {
			err = nil
		}
		if errors.Is(err, errNoWorkflow) && left > 0 && p.moved(ctx, d) {
			continue
		}
		if err == nil {
			err = p.invalid
		}
		return d, err
	}
}

// tellAgain tells the device's workflow of the report, where it was not there before. A newer restore must hear it from
// the agent.
func (p *poll) tellAgain(ctx context.Context) (inventory.AgentDevice, error) {
	d, err := p.look(ctx)
	if err != nil {
		return d, err
	}
	if d.RestoreID != p.restoreID {
		p.untold = false
		return d, nil
	}
	if err = p.report(ctx, d, p.version, true); errors.Is(err, errKept) || errors.Is(err, errUntold) {
		return d, nil
	}
	p.untold = err != nil
	return d, err
}

// moved reports whether the device stands elsewhere than a moment ago.
func (p *poll) moved(ctx context.Context, d inventory.AgentDevice) bool {
	now, err := p.look(ctx)
	return err == nil && (now.State != d.State || now.RestoreID != d.RestoreID)
}

// hold waits until there is something newer than the agent knows. It returns nil where there is not, or where the agent
// had better ask again. A look that fails is made again with the next one. The time that the answer to the roll call
// took counts: the server cuts a response off that comes much later than PollFor after the request.
func (p *poll) hold(ctx context.Context, d inventory.AgentDevice, woken <-chan struct{}) (*inventory.Resource, error) {
	p.metrics.polls.Inc()
	defer p.metrics.polls.Dec()
	end := time.NewTimer(max(p.cfg.PollFor-time.Since(p.began), time.Millisecond))
	defer end.Stop()
	recheck := time.NewTicker(p.cfg.RecheckEvery)
	defer recheck.Stop()
	tell := newBackoff(p.untold)
	defer tell.Stop()
	called := false
	for {
		device, err := p.newer(ctx, d)
		if device != nil || err != nil {
			return device, err
		}
		var now inventory.AgentDevice
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ending:
			return nil, nil
		case <-end.C:
			return nil, nil
		case <-woken:
			called = true
			now, err = p.look(ctx)
		case <-tell.C:
			now, err = p.tellAgain(ctx)
			tell.next(p.untold)
		case <-recheck.C:
			look := p.batchReader.join(p.name)
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-p.ending:
				return nil, nil
			case <-woken:
				called = true
				now, err = p.look(ctx)
			case <-look.done:
				now, err = p.fromBatch(ctx, look)
			}
		}
		switch {
		case ctx.Err() != nil || err != nil && asProblem(err).code != http.StatusServiceUnavailable:
			return nil, err
		case err != nil:
			// A database that cannot answer must not be asked by all polls again, which would come of a 503.
			p.cfg.Logger.Debug("Held poll cannot look whether its device has moved", "device", p.name, "error", err)
			continue
		}
		d = now
		if called && d.RestoreID != "" && d.RestoreID != p.restoreID {
			// A restore has begun since. What the agent said before is no answer to it, and it asks again at once. All
			// agents that see this by their own look would come as fast as the roll is made, so that they are left to be
			// called.
			return nil, nil
		}
		called = false
	}
}

// A workflow that was not there is told again after tellSoon, and then after twice as long each time, up to tellLate.
const tellSoon, tellLate = 200 * time.Millisecond, 30 * time.Second

// backoff is when a workflow is told again.
type backoff struct {
	*time.Timer
	pause time.Duration
}

func newBackoff(due bool) *backoff {
	b := &backoff{Timer: time.NewTimer(tellSoon), pause: tellSoon}
	if !due {
		b.Stop()
	}
	return b
}

func (b *backoff) next(due bool) {
	if b.pause = min(2*b.pause, tellLate); due {
		b.Reset(b.pause)
	}
}

// fromBatch returns the device as a batch has read it. An agent throws its certificate away after a 404, so a device
// that the batch did not find is read again by itself. So is one whose certificates may be other ones now.
func (p *poll) fromBatch(ctx context.Context, one *batchRead) (inventory.AgentDevice, error) {
	d, found, err := one.device(p.name)
	if err == nil && (!found || d.Beside || d.Credentials != p.credentials) {
		return p.look(ctx)
	}
	return d, err
}

// newer is the device with what was rendered past the version that the agent knows, rendered first where that is due;
// nil where there is none. Nothing is newer for a device that waits or is paused.
func (p *poll) newer(ctx context.Context, d inventory.AgentDevice) (*inventory.Resource, error) {
	for range maxReads {
		if d.State.Open() {
			return nil, nil
		}
		if p.cfg.Render && d.RenderDue() {
			if d.IsAhead(p.known) {
				p.refuse("ahead of what was rendered: no restore has called it yet, or it took a newer version while it was called",
					"rendered", d.Restored, "known", p.known)
				return nil, nil
			}
			if ok, err := p.render(ctx, d); err != nil || !ok {
				return nil, err
			}
		} else {
			version, err := runbook.ParseVersion(d.Restored)
			if err != nil || version <= p.known || d.SpecHash == "" {
				return nil, nil
			}
			device, ok, err := p.serve(ctx, d)
			if refusal := runbook.AsRefusal(err); refusal != nil {
				p.refuse(refusal.Message)
				return nil, nil
			}
			if err != nil || ok {
				return device, err
			}
		}
		var err error
		if d, err = p.look(ctx); err != nil {
			return nil, err
		}
	}
	return nil, nil // it moves all the time; the next look will find it at rest
}

// render gives the device its next version. It is false where there is none to give; that it has moved meanwhile is for
// the next look.
func (p *poll) render(ctx context.Context, d inventory.AgentDevice) (bool, error) {
	next, err := d.NextVersion(p.known)
	if err != nil {
		p.refuse(err.Error())
		return false, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	err = p.cfg.Store.MayRender(ctx, d)
	if refusal := runbook.AsRefusal(err); refusal != nil {
		p.refuse(refusal.Message)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := p.cfg.Store.Render(ctx, d, next); err != nil {
		return false, err
	}
	return true, nil
}

// refuse says once for each poll why its device is not rendered.
func (p *poll) refuse(why string, args ...any) {
	if p.refused {
		return
	}
	p.refused = true
	p.metrics.unrendered.Inc()
	p.cfg.Logger.Warn("Device is not rendered", append([]any{"device", p.name, "reason", why}, args...)...)
}

func (p *poll) serve(ctx context.Context, d inventory.AgentDevice) (*inventory.Resource, bool, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	device, ok, err := p.cfg.Store.RenderedDevice(ctx, d)
	if err != nil || !ok {
		return nil, false, err
	}
	return &device, true, nil
}

// readsAtOnce is how many requests read where their device stands at a time. The others wait without a time limit of
// their own, so that a fleet which comes at once is not answered with 503 for its number.
const readsAtOnce = 12

// read reads how the device's agent is to be answered. A device that is positively not there is a 404, and a
// certificate that may not act for it a 403.
func (g *Gateway) read(ctx context.Context, c caller) (inventory.AgentDevice, error) {
	select {
	case g.reads <- struct{}{}:
		defer func() { <-g.reads }()
	case <-ctx.Done():
		return inventory.AgentDevice{}, ctx.Err()
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	d, found, err := g.cfg.Store.AgentDevice(ctx, g.cfg.OrgID, c.name, c.certificate)
	switch {
	case err != nil:
	case !found:
		if err = g.standsAlone(ctx); err == nil {
			err = noDevice(c.name)
		}
	case d.Beside:
		err = besideFlightControl()
	default:
		err = g.mayAct(c, d)
	}
	return d, err
}
