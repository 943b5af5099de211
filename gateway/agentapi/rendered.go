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

// attempts is how often a poll looks again at once where a device moves between two looks.
const attempts = 4

// poll is one request for a rendered version newer than the one that the agent knows.
type poll struct {
	*Gateway
	name string
	// version is as the agent reports it, and known what it reads as; invalid is why it cannot be read.
	version string
	known   runbook.Version
	invalid error
	// restoreID is the roll call that the poll has answered.
	restoreID string
}

// rendered answers GET /devices/{name}/rendered. The poll is what a device answers the roll call by; while that waits for
// it or for a human, it is held.
func (g *Gateway) rendered(w http.ResponseWriter, r *http.Request, name string) error {
	if r.ContentLength != 0 {
		return problemf(http.StatusBadRequest, "a poll has no body")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problemf(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	p := poll{Gateway: g, name: name}
	if p.version, err = only(query["knownRenderedVersion"]); err != nil {
		return err
	}
	p.known, p.invalid = runbook.ParseVersion(p.version)
	woken, leave := g.waits.join(name) // before the device is read, so that no move falls between
	defer leave()
	d, err := p.answerRoll(r.Context())
	if err != nil {
		return err
	}
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

// answerRoll reads the device, and reports its version where a roll call waits for it.
func (p *poll) answerRoll(ctx context.Context) (inventory.AgentDevice, error) {
	for left := attempts; ; left-- {
		d, err := p.read(ctx, p.name)
		if err != nil {
			return d, err
		}
		p.restoreID = d.RestoreID
		err = p.report(ctx, d, p.version)
		if errors.Is(err, errNobodyWaits) && left > 0 && p.moved(ctx, d) {
			continue
		}
		if err == nil {
			err = p.invalid
		}
		return d, err
	}
}

// moved tells whether the device stands elsewhere than a moment ago.
func (p *poll) moved(ctx context.Context, d inventory.AgentDevice) bool {
	now, err := p.read(ctx, p.name)
	return err == nil && (now.State != d.State || now.RestoreID != d.RestoreID)
}

// hold waits until there is something newer than the agent knows. It returns nil where there is not, or where the agent
// had better ask anew. A look that fails is made again with the next one.
func (p *poll) hold(ctx context.Context, d inventory.AgentDevice, woken <-chan struct{}) (*inventory.Resource, error) {
	p.metrics.polls.Inc()
	defer p.metrics.polls.Dec()
	end := time.NewTimer(p.cfg.PollFor)
	defer end.Stop()
	recheck := time.NewTicker(p.cfg.RecheckEvery)
	defer recheck.Stop()
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
			now, err = p.read(ctx, p.name)
		case <-recheck.C:
			look := p.looks.join(p.name)
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-p.ending:
				return nil, nil
			case <-woken:
				called = true
				now, err = p.read(ctx, p.name)
			case <-look.done:
				now, err = p.looked(ctx, look)
			}
		}
		switch {
		case ctx.Err() != nil || err != nil && asProblem(err).code != http.StatusServiceUnavailable:
			return nil, err
		case err != nil:
			// A database that cannot answer must not be asked by all polls anew, which would come of a 503.
			p.cfg.Logger.Debug("Held poll cannot look whether its device has moved", "device", p.name, "error", err)
			continue
		}
		d = now
		if called && d.RestoreID != "" && d.RestoreID != p.restoreID {
			// A restore has begun since. What the agent said before is no answer to it, and it asks again at once. All agents that
			// see this by their own look would come as fast as the roll is made, so that they are left to be called.
			return nil, nil
		}
		called = false
	}
}

// looked is what a look with others says of the device. An agent throws its certificate away at a 404, so that only a look of the
// device's own says that it is not there.
func (p *poll) looked(ctx context.Context, one *look) (inventory.AgentDevice, error) {
	d, found, err := one.device(p.name)
	if err == nil && !found {
		return p.read(ctx, p.name)
	}
	return d, err
}

// newer is the device with what was rendered past the version that the agent knows, rendered first where that is due; nil
// where there is none. Nothing is newer for a device that waits or is paused.
func (p *poll) newer(ctx context.Context, d inventory.AgentDevice) (*inventory.Resource, error) {
	for range attempts {
		if d.State.Open() {
			return nil, nil
		}
		if p.cfg.Render && d.RenderDue() {
			if ok, err := p.render(ctx, d); err != nil || !ok {
				return nil, err
			}
		} else {
			version, err := runbook.ParseVersion(d.Restored)
			if err != nil || version <= p.known || d.SpecHash == "" {
				return nil, nil
			}
			device, ok, err := p.serve(ctx, d)
			if err != nil || ok {
				return device, err
			}
		}
		var err error
		if d, err = p.read(ctx, p.name); err != nil {
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
		p.cfg.Logger.Warn("Device cannot be rendered", "device", p.name, "error", err)
		return false, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := p.cfg.Store.Render(ctx, d, next); err != nil {
		return false, err
	}
	return true, nil
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

// read reads how the device's agent is to be answered; a device that is positively not there is a 404.
func (g *Gateway) read(ctx context.Context, name string) (inventory.AgentDevice, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	d, found, err := g.cfg.Store.AgentDevice(ctx, g.cfg.OrgID, name)
	if err == nil && !found {
		err = noDevice(name)
	}
	return d, err
}
