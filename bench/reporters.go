package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/runbook"
	"rollcall/simulator"
)

// reporters are agents reduced to their part in a roll call, so that a machine can be a whole fleet whose connections
// it could not hold: they speak without TLS, are connected only while they ask, and end when the roll call has answered
// them. What they say, and when, is what an agent says: its status, and then a poll; who is turned away comes again
// after as long as it was told, and up to half as long more.
type reporters struct {
	fleetOptions
	http  *http.Client
	began time.Time

	back, polls, statuses, retries, errors atomic.Int64
	lastError                              atomic.Value
}

func newReporters(o fleetOptions) *reporters {
	return &reporters{fleetOptions: o, http: &http.Client{
		Timeout: 4 * time.Minute,
		Transport: &http.Transport{
			DialContext: fromManyAddresses(), MaxIdleConnsPerHost: 1000, ReadBufferSize: 2 << 10, WriteBufferSize: 1 << 10,
		},
	}}
}

// Run lets them live until the last one has been answered, or ctx ends.
func (r *reporters) Run(ctx context.Context) simulator.Summary {
	r.began = time.Now()
	var wait sync.WaitGroup
	for i := r.from; i < r.to; i++ {
		wait.Go(func() { r.live(ctx, deviceName(r.prefix, i*r.every)) })
	}
	wait.Wait()
	return r.Summary()
}

// Summary is how they stand; Back are those that the roll call has answered.
func (r *reporters) Summary() simulator.Summary {
	s := simulator.Summary{
		Agents: r.to - r.from, Back: r.back.Load(), Polls: r.polls.Load(), Reports: r.statuses.Load(),
		Retries: r.retries.Load(), Errors: r.errors.Load(),
	}
	if !r.began.IsZero() {
		s.Seconds = time.Since(r.began).Seconds()
	}
	s.LastError, _ = r.lastError.Load().(string)
	return s
}

func (r *reporters) live(ctx context.Context, name string) {
	one := reporter{reporters: r, device: "/api/v1/devices/" + name, name: name}
	for pause := rand.N(r.comeWithin); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		again, err := one.visit(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.errors.Add(1)
			r.retries.Add(1)
			r.lastError.Store(err.Error())
			pause = time.Second + rand.N(time.Second)
		case one.answered:
			r.back.Add(1)
			return
		case again > 0:
			r.retries.Add(1)
			pause = again + rand.N(again/2)
		default:
			pause = 0
		}
	}
}

// reporter is one agent.
type reporter struct {
	*reporters
	device, name string
	// saidAt is when it has last said its status.
	saidAt time.Time
	// waits tells that its device waited for the roll call when it was last seen, and answered that it does no more.
	waits, answered bool
}

// visit says the status, once a minute or after a poll that was answered, and polls. again is for how long the agent
// was turned away.
func (r *reporter) visit(ctx context.Context) (again time.Duration, err error) {
	if time.Since(r.saidAt) >= time.Minute {
		if again, err = r.sayStatus(ctx); err != nil || again > 0 || r.answered {
			return again, err
		}
	}
	r.polls.Add(1)
	again, err = r.ask(ctx, http.MethodGet, r.device+"/rendered?knownRenderedVersion="+restoredVersion, "", nil)
	if err == nil && again == 0 {
		r.saidAt = time.Time{}
	}
	return again, err
}

func (r *reporter) sayStatus(ctx context.Context) (again time.Duration, err error) {
	var stored struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	r.statuses.Add(1)
	again, err = r.ask(ctx, http.MethodPut, r.device+"/status", fmt.Sprintf(
		`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":%q},`+
			`"status":{"config":{"renderedVersion":%q}}}`, r.name, restoredVersion), &stored)
	if err == nil && again == 0 {
		before := r.waits
		r.saidAt, r.waits = time.Now(), runbook.StateOf(stored.Metadata.Annotations) == runbook.StateAwaitingReconnect
		r.answered = before && !r.waits
	}
	return again, err
}

// ask makes one request; again is what a 503 says.
func (r *reporter) ask(ctx context.Context, method, what, body string, into any) (again time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, method, r.gateway+what, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	// Each of them is idempotent, and net/http may ask again where it was given a connection that the gateway had just
	// closed for being idle: an agent has a connection of its own, and none that someone else had left. Without a value it
	// is not sent.
	request.Header["Idempotency-Key"] = nil
	response, err := r.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return 0, err
	case response.StatusCode == http.StatusServiceUnavailable:
		// Its status may have been stored before the device was put on the roll, and again only once it was answered.
		r.waits = r.waits || strings.Contains(string(text), "roll call")
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		return time.Duration(max(1, seconds)) * time.Second, err
	case response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNoContent:
		return 0, fmt.Errorf("%s %s: %s %s", method, what, response.Status, text)
	case into != nil:
		return 0, json.Unmarshal(text, into)
	}
	return 0, nil
}

// fromManyAddresses dials from one address of this machine after the other, as one has only some 28,000 ports.
func fromManyAddresses() func(ctx context.Context, network, address string) (net.Conn, error) {
	var n atomic.Uint32
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		from := net.IPv4(127, 0, 0, byte(1+n.Add(1)%16))
		dialer := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: from}}
		return dialer.DialContext(ctx, network, address)
	}
}
