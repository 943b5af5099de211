package agentapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rollcall/internal/authority"
	"rollcall/internal/enrollment"
	"rollcall/inventory"
	"rollcall/runbook"
)

// Workflows are those of the roll call, which a gateway signals, or ends where what they wait for has expired; a
// Temporal client is one.
type Workflows interface {
	SignalWorkflow(ctx context.Context, workflowID, runID, signal string, message any) error
	CancelWorkflow(ctx context.Context, workflowID, runID string) error
}

// Config is what a Gateway needs. Durations and counts of 0 are the defaults.
type Config struct {
	// Store is the inventory, and Temporal the way to the roll call; the caller closes both.
	Store    *inventory.Store
	Temporal Workflows
	// Starter starts the workflows of enrollment requests, on TaskQueue (empty is the default one). Nil is Temporal, where
	// that can; without any, requests are stored and answered 503.
	Starter   enrollment.Starter
	TaskQueue string
	// OrgID is the organisation whose devices are served; empty is the default one.
	OrgID string
	// Logger must be set.
	Logger *slog.Logger

	// Listen is the address for agents.
	Listen string
	// Certificate is the gateway's own, and ClientCAs trusts those of agents.
	Certificate *tls.Certificate
	ClientCAs   *x509.CertPool
	// PlainHTTP serves without TLS, where anyone may speak for any device; on a loopback address only.
	PlainHTTP bool
	// MetricsListen is the address for /metrics, /healthz and /readyz; empty serves none. Metrics is what is served there;
	// nil is the gateway's own only.
	MetricsListen string
	Metrics       *prometheus.Registry

	// CA signs the requests of devices that were approved, for CertificateLifetime: 365 days. Nil signs nothing, and
	// approved requests look pending to their agents until someone else has signed them. What it signs must be trusted by
	// ClientCAs.
	CA                  *authority.CA
	CertificateLifetime time.Duration

	// Render makes the gateway render specs. A live Flight Control renders them itself.
	Render bool
	// PollFor is how long a poll is held where there is nothing newer: 3 minutes, as agents give up after four.
	PollFor time.Duration
	// RecheckEvery is how often a held poll looks by itself, for what is no transition, such as another spec: 30 seconds.
	RecheckEvery time.Duration
	// WatchEvery is how often the database is asked which devices have moved, once for all polls: 200 ms.
	WatchEvery time.Duration
	// SeenEvery is how often it is stored when devices were last heard of: 15 seconds, as Flight Control does. Its servers
	// call a device disconnected whose time stands still.
	SeenEvery time.Duration
	// BodyTimeout is how long a body may take to come: 15 seconds.
	BodyTimeout time.Duration
	// OpenPerDevice is how many requests a device may have open at once: 4. As many may be open about one enrollment
	// request.
	OpenPerDevice int
	// ReportsAtOnce is how many devices' reports may be under way in Temporal at once, before others wait for their turn:
	// 500.
	ReportsAtOnce int
	// MaxHeldPolls is how many polls may be open at once; those past that are answered 503: 50,000. Each takes some 70 kB.
	MaxHeldPolls int
	// OpenEnrollments is how many calls about enrollment requests may be open at once, all in all, and OpenPerSource how
	// many of them from one address: 64 and 32. All agents share a certificate there, so that no name can be counted.
	OpenEnrollments, OpenPerSource int
	// ConnectionsPerAddress and ConnectionsPerCertificate are how many connections may be open from one address, and of
	// one device's certificate: 50,000 and 64. A fleet may sit behind one address.
	ConnectionsPerAddress, ConnectionsPerCertificate int
	// RequestsPerMinute is how many enrollment requests may be posted from one address in a minute: 600. A fleet may sit
	// behind one address.
	RequestsPerMinute int
	// MaxPendingRequests is how many enrollment requests may be pending that agents have posted: 10,000.
	MaxPendingRequests int
	// RequestTTL is after how long a pending request expires that its agent has not posted again: 24 hours. An agent that
	// waits posts its request every few minutes.
	RequestTTL time.Duration
}

// Limits on what a client may cost before it is known to be a good one.
const (
	maxBody       = 1 << 20
	maxRequest    = 64 << 10 // to be enrolled, or to have a certificate renewed
	maxDrained    = 16 << 20
	maxHeader     = 16 << 10
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// writeTimeout is for an answer, from the end of a held poll on.
	writeTimeout = 30 * time.Second
	// enrollmentsAtOnce is how many calls about enrollment requests use the database at once, so that a flood of them
	// leaves connections to the devices that poll.
	enrollmentsAtOnce = 8
	// endTimeout is how long a graceful end may take; held polls are answered at once.
	endTimeout = 10 * time.Second
)

// answerTimeout bounds one call of the database or of Temporal. Tests raise it: a busy machine is not a dead database.
var answerTimeout = 5 * time.Second

func (c Config) withDefaults() Config {
	c.OrgID = cmp.Or(c.OrgID, runbook.DefaultOrgID)
	c.PollFor = cmp.Or(c.PollFor, 3*time.Minute)
	c.RecheckEvery = cmp.Or(c.RecheckEvery, 30*time.Second)
	c.WatchEvery = cmp.Or(c.WatchEvery, 200*time.Millisecond)
	c.SeenEvery = cmp.Or(c.SeenEvery, 15*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 15*time.Second)
	c.OpenPerDevice = cmp.Or(c.OpenPerDevice, 4)
	c.ReportsAtOnce = cmp.Or(c.ReportsAtOnce, 500)
	c.MaxHeldPolls = cmp.Or(c.MaxHeldPolls, 50_000)
	c.OpenEnrollments, c.OpenPerSource = cmp.Or(c.OpenEnrollments, 64), cmp.Or(c.OpenPerSource, 32)
	c.ConnectionsPerAddress = cmp.Or(c.ConnectionsPerAddress, 50_000)
	c.ConnectionsPerCertificate = cmp.Or(c.ConnectionsPerCertificate, 64)
	c.RequestsPerMinute = cmp.Or(c.RequestsPerMinute, 600)
	c.MaxPendingRequests = cmp.Or(c.MaxPendingRequests, 10_000)
	c.RequestTTL = cmp.Or(c.RequestTTL, 24*time.Hour)
	c.CertificateLifetime = cmp.Or(c.CertificateLifetime, 365*24*time.Hour)
	c.TaskQueue = cmp.Or(c.TaskQueue, runbook.DefaultTaskQueue)
	if c.Starter == nil {
		c.Starter, _ = c.Temporal.(enrollment.Starter)
	}
	return c
}

// check joins everything that is wrong.
func (c Config) check() error {
	var errs []error
	if min(c.PollFor, c.RecheckEvery, c.WatchEvery, c.SeenEvery, c.BodyTimeout, c.CertificateLifetime, c.RequestTTL) < 0 ||
		min(c.OpenPerDevice, c.ReportsAtOnce, c.MaxHeldPolls, c.OpenEnrollments, c.OpenPerSource,
			c.RequestsPerMinute, c.MaxPendingRequests, c.ConnectionsPerAddress, c.ConnectionsPerCertificate) < 0 {
		errs = append(errs, errors.New("a duration or a limit is below zero"))
	}
	switch {
	case c.PlainHTTP && (c.Certificate != nil || c.ClientCAs != nil):
		errs = append(errs, errors.New("plain HTTP does not go with certificates"))
	case c.PlainHTTP:
		errs = append(errs, onLoopback(c.Listen))
	case c.Certificate == nil || c.ClientCAs == nil:
		errs = append(errs, errors.New("a certificate, and an authority for those of agents, are needed"))
	case c.CA != nil:
		errs = append(errs, trusted(c.CA, c.ClientCAs))
	}
	return errors.Join(errs...)
}

// trusted reports whether the certificates that an authority signs would be accepted, as they are presented: alone,
// without those between them and a root.
func trusted(ca *authority.CA, by *x509.CertPool) error {
	signed, err := ca.Device("try", time.Hour)
	if err != nil {
		return err
	}
	pair, err := signed.TLS()
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err == nil {
		_, err = leaf.Verify(x509.VerifyOptions{Roots: by, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	if err != nil {
		return fmt.Errorf("certificates of the authority %q would not be accepted from agents: %w; those that are trusted "+
			"must hold that authority itself", ca.Certificate().Subject.CommonName, err)
	}
	return nil
}

// onLoopback reports whether no one beyond this machine can reach the address.
func onLoopback(listen string) error {
	address, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return fmt.Errorf("read address %q: %w", listen, err)
	}
	if !address.IP.IsLoopback() {
		return fmt.Errorf("plain HTTP on %q is refused: anyone could speak for any device there; listen on a loopback "+
			"address such as 127.0.0.1:8080, or use certificates", listen)
	}
	return nil
}
