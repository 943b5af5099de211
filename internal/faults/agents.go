package faults

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/internal/authority"
	"rollcall/runbook"
)

// agent is the agent of a device beside Flight Control. It polls with the version that it runs, and takes each newer
// one that it is served.
type agent struct {
	*beside
	name string
	http *http.Client
	// came is the version with which the device came back.
	came    string
	version atomic.Int64
	random  *rand.Rand
}

func (b *beside) newAgent(n int, version int64) (*agent, error) {
	g := &agent{
		beside: b, name: deviceName(n), came: fmt.Sprint(version),
		random: rand.New(rand.NewPCG(b.options.Seed, uint64(n)+2000)), //nolint:gosec // n counts devices
	}
	g.version.Store(version)
	pair, err := b.ca.DeviceOf(authority.Subject{Device: g.name, Organisation: b.orgs[0].id}, time.Hour)
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	g.http = &http.Client{Timeout: callLimit, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: b.ca.Pool(), Certificates: []tls.Certificate{certificate},
		},
	}}
	return g, nil
}

func (g *agent) runs() int64 { return g.version.Load() }

// work polls until ctx ends. All polls before the device is compared say the same, so they are one report.
func (g *agent) work(ctx context.Context) {
	defer g.http.CloseIdleConnections()
	if ctx.Err() != nil {
		return
	}
	g.record(Call{
		OrgID: g.orgs[0].id, Device: g.name, Kind: Report, Version: g.came, By: "agent", Via: "poll", Start: time.Now(),
		Answer: Stored,
	})
	for ctx.Err() == nil {
		g.poll(ctx)
		wait(ctx, time.Duration(50+g.random.IntN(300))*time.Millisecond)
	}
}

// poll asks for a newer version. What has no answer is asked again.
func (g *agent) poll(ctx context.Context) {
	answer, ok := g.send(ctx, http.MethodGet, fmt.Sprintf("/rendered?knownRenderedVersion=%d", g.runs()), "")
	if !ok || answer == "" {
		return
	}
	var served struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal([]byte(answer), &served); err != nil {
		g.fail(fmt.Errorf("%s was served what cannot be read: %w", g.name, err))
		return
	}
	notes := served.Metadata.Annotations
	rendered, err := strconv.ParseInt(notes[runbook.AnnotationRenderedVersion], 10, 64)
	waits := notes[runbook.AnnotationAwaitingReconnect] == runbook.AnnotationTrue
	paused := notes[runbook.AnnotationConflictPaused] == runbook.AnnotationTrue
	switch {
	case err != nil:
		g.fail(fmt.Errorf("%s was served a version that cannot be read: %w", g.name, err))
	case (waits || paused) && rendered != restoredVersion:
		g.fail(fmt.Errorf("%s was served version %d while it waited or was paused", g.name, rendered))
	case paused:
		g.putStatus(ctx)
	case !waits && rendered > g.runs():
		g.version.Store(rendered)
		g.putStatus(ctx)
	}
}

func (g *agent) putStatus(ctx context.Context) {
	g.send(ctx, http.MethodPut, "/status", fmt.Sprintf(
		`{"metadata": {"name": %q}, "status": {"config": {"renderedVersion": "%d"}}}`, g.name, g.runs()))
}

// send sends a request about the device. It reports false where there was no answer, or one that says to try again.
func (g *agent) send(ctx context.Context, method, path, body string) (answer string, ok bool) {
	request, err := http.NewRequestWithContext(ctx, method, g.fake.AgentURL()+"/api/v1/devices/"+g.name+path,
		strings.NewReader(body))
	if err != nil {
		g.fail(err)
		return "", false
	}
	response, err := g.http.Do(request)
	if err != nil {
		return "", false
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if code := response.StatusCode; code >= http.StatusBadRequest && code < http.StatusInternalServerError {
		g.fail(fmt.Errorf("%s %s of %s: %s: %.200s", method, path, g.name, response.Status, text))
	}
	return string(text), err == nil && response.StatusCode < http.StatusBadRequest
}
