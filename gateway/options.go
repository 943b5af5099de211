package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
)

// defaultListen is where agents of Flight Control look by default.
const defaultListen = ":7443"

// options are the gateway's own flags; where one names an environment variable, that is its default.
type options struct {
	listen, certFile, keyFile, clientCA string
	caCert, caKey, org                  string
	certDays                            int
	reportsAtOnce, maxHeldPolls         int
	requestsPerMinute, maxPending       int
	perAddress, perCertificate          int
	requestTTL                          time.Duration
	plainHTTP, render                   bool
	// wrong is what is wrong with the environment.
	wrong error
}

func (o *options) bind(flags *flag.FlagSet) {
	listen := os.Getenv("ROLLCALL_GATEWAY_LISTEN")
	if listen == "" {
		listen = defaultListen
	}
	file := func(at *string, name, value, usage string) { flags.StringVar(at, name, value, "PEM file of "+usage) }
	flags.StringVar(&o.listen, "listen", listen, "address for agents (ROLLCALL_GATEWAY_LISTEN)")
	file(&o.certFile, "cert", os.Getenv("ROLLCALL_GATEWAY_CERT"), "the gateway's certificate (ROLLCALL_GATEWAY_CERT)")
	file(&o.keyFile, "key", os.Getenv("ROLLCALL_GATEWAY_KEY"), "its key (ROLLCALL_GATEWAY_KEY)")
	file(&o.clientCA, "client-ca", os.Getenv("ROLLCALL_CA_CERT"),
		"the authority that signed the certificates of agents (ROLLCALL_CA_CERT)")
	file(&o.caCert, "ca-cert", os.Getenv("ROLLCALL_CA_CERT"),
		"the authority that signs approved enrollment requests (ROLLCALL_CA_CERT)")
	file(&o.caKey, "ca-key", os.Getenv("ROLLCALL_CA_KEY"), "its key; without it nothing is signed (ROLLCALL_CA_KEY)")
	flags.IntVar(&o.certDays, "cert-days", 365, "how many days the certificates are valid that it signs")
	flags.BoolVar(&o.plainHTTP, "plain-http", false,
		"serve without TLS, on a loopback address only: every program there may speak for any device")
	flags.BoolVar(&o.render, "render", false, "render specs; a live Flight Control renders them itself")
	flags.IntVar(&o.reportsAtOnce, "reports-at-once", 0,
		"how many devices' reports may be under way in Temporal, before others wait for their turn (default 500)")
	flags.IntVar(&o.maxHeldPolls, "max-held-polls", 0,
		"how many polls may be open, before others are answered 503; each takes some 70 kB of memory (default 50000)")
	o.bindBounds(flags)
	flags.StringVar(&o.org, "org", "",
		"organisation whose devices are served: its UUID, external id or display name (default the default one)")
}

// bindBounds binds the bounds on what strangers may cost.
func (o *options) bindBounds(flags *flag.FlagSet) {
	number := func(at *int, name, env string, value int, usage string) {
		flags.IntVar(at, name, fromEnv(o, env, value, strconv.Atoi), usage+" ("+env+")")
	}
	number(&o.requestsPerMinute, "requests-per-minute", "ROLLCALL_GATEWAY_REQUESTS_PER_MINUTE", 600,
		"how many enrollment requests may be posted from one address in a minute, before others are answered 429")
	number(&o.maxPending, "max-pending-requests", "ROLLCALL_GATEWAY_MAX_PENDING_REQUESTS", 10_000,
		"how many posted enrollment requests may be pending, before new ones are answered 429")
	number(&o.perAddress, "max-connections-per-address", "ROLLCALL_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", 50_000,
		"how many connections may be open from one address, which may be that of a whole fleet; others are closed")
	number(&o.perCertificate, "max-connections-per-certificate", "ROLLCALL_GATEWAY_MAX_CONNECTIONS_PER_CERTIFICATE", 64,
		"how many connections a device's certificate may have open, before others are answered 429")
	const ttl = "ROLLCALL_GATEWAY_REQUEST_TTL"
	flags.DurationVar(&o.requestTTL, "request-ttl", fromEnv(o, ttl, 24*time.Hour, time.ParseDuration),
		"after how long a pending request expires that was posted after the restore, and not again since ("+ttl+")")
}

// fromEnv is the value of an environment variable, or the other one where it is not set. What cannot be read is told
// when the flags are.
func fromEnv[T any](o *options, name string, otherwise T, read func(string) (T, error)) T {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := read(text)
	if err != nil {
		o.wrong = errors.Join(o.wrong, fmt.Errorf("%s=%q cannot be read: %w", name, text, err))
		return otherwise
	}
	return value
}

// config is what the flags alone say, with the certificates read.
func (o options) config() (agentapi.Config, error) {
	cfg := agentapi.Config{
		Listen: o.listen, PlainHTTP: o.plainHTTP, Render: o.render,
		ReportsAtOnce: o.reportsAtOnce, MaxHeldPolls: o.maxHeldPolls,
		RequestsPerMinute: o.requestsPerMinute, MaxPendingRequests: o.maxPending, RequestTTL: o.requestTTL,
		ConnectionsPerAddress: o.perAddress, ConnectionsPerCertificate: o.perCertificate,
	}
	if o.wrong != nil {
		return cfg, o.wrong
	}
	if min(o.requestsPerMinute, o.maxPending, o.perAddress, o.perCertificate) < 1 || o.requestTTL <= 0 {
		return cfg, errors.New("--requests-per-minute, --max-pending-requests, --request-ttl and the two of " +
			"--max-connections must be above 0")
	}
	var err error
	if cfg.CA, err = o.authority(); err != nil {
		return cfg, err
	}
	cfg.CertificateLifetime = time.Duration(o.certDays) * 24 * time.Hour
	if o.plainHTTP {
		return cfg, nil
	}
	if o.certFile == "" || o.keyFile == "" || o.clientCA == "" {
		return cfg, errors.New("certificates are missing: set --cert, --key and --client-ca, or " +
			"for a try on this machine --plain-http --listen 127.0.0.1:7443")
	}
	pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
	if err != nil {
		return cfg, fmt.Errorf("read the gateway's certificate: %w", err)
	}
	text, err := os.ReadFile(o.clientCA)
	if err != nil {
		return cfg, fmt.Errorf("read the authority for agents: %w", err)
	}
	cfg.Certificate, cfg.ClientCAs = &pair, x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(text) {
		return cfg, fmt.Errorf("read the authority for agents: %s holds no certificate in PEM", o.clientCA)
	}
	return cfg, nil
}

// authority is the one that signs; nil where there is no key to sign with.
func (o options) authority() (*authority.CA, error) {
	switch {
	case o.caKey == "":
		return nil, nil
	case o.caCert == "":
		return nil, errors.New("--ca-key is given without --ca-cert, the certificate that it belongs to")
	case o.certDays < 1:
		return nil, fmt.Errorf("--cert-days %d: a certificate is valid for a day at least", o.certDays)
	}
	return authority.Load(o.caCert, o.caKey)
}
