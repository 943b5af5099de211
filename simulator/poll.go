package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rollcall/authority"
)

// Annotations of a device that is served.
const (
	annotationVersion = "device-controller/renderedVersion"
	annotationPaused  = "device-controller/conflictPaused"
)

// poll asks for a version newer than the agent's, and applies what it is given. It gives up after four minutes, and
// before where something else is due.
func (a *agent) poll(ctx context.Context) error {
	a.enter(StatePolling)
	begin := a.polledAt.Add(pollGap)
	if a.notBefore.After(begin) {
		begin = a.notBefore
	}
	if at := a.interruption(); !at.IsZero() && at.Before(begin) {
		sleep(ctx, time.Until(at))
		return nil
	}
	if !sleep(ctx, time.Until(begin)) {
		return nil
	}
	a.polledAt = time.Now()
	a.fleet.counts.polls.Add(1)
	polling, cancel := context.WithDeadline(ctx, earliest(a.polledAt.Add(pollLimit), a.interruption()))
	defer cancel()
	got, err := a.call(polling, http.MethodGet, "/rendered?knownRenderedVersion="+url.QueryEscape(a.version), nil)
	if err != nil {
		if polling.Err() != nil {
			return nil // it has given up by itself
		}
		return a.fleet.unreachable("poll", err)
	}
	return a.polled(ctx, got)
}

func (a *agent) polled(ctx context.Context, got answer) error {
	switch got.code {
	case http.StatusOK:
		a.succeeded()
		return a.served(ctx, got.body)
	case http.StatusNoContent, http.StatusConflict:
		a.succeeded()
		a.fleet.counts.nothing.Add(1)
		return nil
	case http.StatusNotFound:
		return a.wipe()
	case http.StatusBadRequest:
		a.answered()
	}
	return a.fleet.failed("poll", got)
}

func (a *agent) succeeded() {
	a.failures = 0
	a.answered()
}

// served takes what the service has rendered. A device that is paused reports its full status again; a version that is not
// above the agent's is ignored.
func (a *agent) served(ctx context.Context, body []byte) error {
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
		a.unsaid = true
		return nil
	}
	version, err := strconv.ParseUint(device.Metadata.Annotations[annotationVersion], 10, 63)
	if err != nil {
		return a.fleet.unreachable("read the rendered device", fmt.Errorf("its version: %w", err))
	}
	if version <= known(a.version) {
		return nil
	}
	a.fleet.counts.served.Add(1)
	image := ""
	if device.Spec.OS != nil {
		image = device.Spec.OS.Image
	}
	a.apply(ctx, version, image)
	return nil
}

// wipe throws the certificate away, as an agent does whose device the service says that it does not know. Its key stays,
// and with it the name under which it enrolls.
func (a *agent) wipe() error {
	a.fleet.counts.wiped.Add(1)
	a.wiped++
	a.http.CloseIdleConnections()
	a.http, a.asked = nil, false
	name, err := authority.DeviceName(a.key.Public())
	if err != nil {
		return err
	}
	a.name = name
	a.decide("wipes its certificate")
	a.enter(StateEnrolling)
	if a.wiped > 1 {
		return &failure{err: errors.New("the device was let in, and then was not there")}
	}
	return nil
}
