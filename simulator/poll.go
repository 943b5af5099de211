package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"

	"rollcall/internal/authority"
)

// Annotations of a device that is served.
const (
	annotationVersion = "device-controller/renderedVersion"
	annotationPaused  = "device-controller/conflictPaused"
)

// poll asks for a version newer than the one that was served last. It gives up after four minutes, and before where
// something else is due. A poll that ends well is followed by the next; after a failure the agent waits of its own,
// whatever the service says in Retry-After.
func (a *agent) poll(ctx context.Context) error {
	if time.Until(a.pollAt) > 0 {
		if a.pollFailures > 0 {
			a.enter(StateRetrying)
		}
		sleep(ctx, time.Until(earliest(a.pollAt, a.interruption())))
		return nil
	}
	a.enter(StatePolling)
	a.fleet.counts.polls.Add(1)
	begun, t := time.Now(), a.fleet.cfg.Timing
	polling, cancel := context.WithDeadline(ctx, earliest(begun.Add(t.PollLimit), a.interruption()))
	defer cancel()
	heard, unheard := a.heard.Load(), a.unheard.Load()
	got, err := a.call(httptrace.WithClientTrace(polling, &httptrace.ClientTrace{
		WroteRequest: func(sent httptrace.WroteRequestInfo) {
			if sent.Err == nil {
				a.answered()
			}
		},
	}), http.MethodGet, a.renderedPath(), nil)
	switch {
	case err != nil && polling.Err() != nil: // it has given up by itself
		return nil
	case err != nil:
		a.turnedAway(heard, unheard)
		err = a.fleet.unreachable("poll", err)
	default:
		a.pollAt = begun.Add(t.PollGap)
		if got.code == http.StatusTooManyRequests || got.code >= http.StatusInternalServerError {
			a.turnedAway(heard, unheard)
		}
		err = a.polled(got)
	}
	if err == nil {
		a.pollFailures = 0
		return nil
	}
	wait := grown(t.PollRetry, t.PollRetryMax, 2, a.pollFailures)
	a.pollAt = time.Now().Add(jittered(wait, 0.2, a.throw("poll", a.retries).Float64()))
	a.pollFailures++
	return err
}

// renderedPath names the version that was served last, and none where there is none.
func (a *agent) renderedPath() string {
	if a.known == "" {
		return "/rendered"
	}
	return "/rendered?knownRenderedVersion=" + url.QueryEscape(a.known)
}

// polled takes the answer of a poll. A 404 makes the agent wipe its certificate only where it says in words that the
// device is not there.
func (a *agent) polled(got answer) error {
	switch {
	case got.code == http.StatusOK && got.json:
		return a.served(got.body)
	case got.code == http.StatusNoContent, got.code == http.StatusConflict:
		a.fleet.counts.nothing.Add(1)
		return nil
	case got.code == http.StatusNotFound && bytes.Contains(got.body, []byte("Device of name")) &&
		bytes.Contains(got.body, []byte("not found")):
		return a.wipe()
	}
	return a.fleet.failed("poll", got)
}

// served takes what the service has rendered. A device that is paused has its status put again at its next turn. A
// version that is not above the one that was served last is ignored, and one that cannot be read counts as 0.
func (a *agent) served(body []byte) error {
	var device struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			OS *struct {
				Image string `json:"image"`
			} `json:"os"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(body, &device); err != nil {
		return a.fleet.unreachable("read the rendered device", err)
	}
	if device.Metadata.Annotations[annotationPaused] == "true" {
		a.fleet.counts.conflicts.Add(1)
		a.decide("is paused")
		if a.told != nil {
			every := float64(a.fleet.cfg.Timing.StatusEvery)
			a.told, a.sayAt = nil, time.Now().Add(time.Duration(every*a.throw("again", a.conflicts).Float64()))
			a.conflicts++
		}
	}
	version := known(device.Metadata.Annotations[annotationVersion])
	if version <= known(a.known) {
		return nil
	}
	a.fleet.counts.served.Add(1)
	a.known = format(version)
	a.pending = &pending{version: version}
	if device.Spec.OS != nil {
		a.pending.image = device.Spec.OS.Image
	}
	a.applyAt = time.Time{}
	return nil
}

// pending is a version that was served and does not run yet.
type pending struct {
	version uint64
	image   string
}

// wipe throws the certificate away, as an agent does whose device the service says that it does not know. Its key
// stays, and with it the name under which it enrolls.
func (a *agent) wipe() error {
	a.fleet.counts.wiped.Add(1)
	a.wiped++
	a.http.CloseIdleConnections()
	a.http, a.asked, a.looks, a.told = nil, false, 0, nil
	a.askAt = time.Now().Add(a.fleet.cfg.Timing.Restart)
	name, err := authority.DeviceName(a.key.Public())
	if err != nil {
		return err
	}
	a.name = name
	a.decide("wipes its certificate")
	a.enter(StateEnrolling)
	if a.wiped > 1 {
		a.askAt = a.askAt.Add(grown(a.fleet.cfg.Timing.PollRetry, a.fleet.cfg.Timing.PollRetryMax, 2, a.wiped-2))
		return &failure{err: errors.New("the device was let in, and then was not there")}
	}
	return nil
}
