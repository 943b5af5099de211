package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"rollcall/authority"
	"rollcall/gateway/agentapi"
)

// defaultListen is where agents of Flight Control look by default.
const defaultListen = ":7443"

// options are the gateway's flags; each has an environment variable as its default.
type options struct {
	listen, certFile, keyFile, clientCA     string
	caCert, caKey                           string
	certDays, reportsAtOnce                 int
	org, metricsListen, logFormat, logLevel string
	plainHTTP, render, showVersion          bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := os.Getenv("ROLLCALL_GATEWAY_LISTEN")
	if listen == "" {
		listen = defaultListen
	}
	flags.StringVar(&o.listen, "listen", listen, "address for agents (ROLLCALL_GATEWAY_LISTEN)")
	flags.StringVar(&o.certFile, "cert", os.Getenv("ROLLCALL_GATEWAY_CERT"), "PEM file of the gateway's certificate (ROLLCALL_GATEWAY_CERT)")
	flags.StringVar(&o.keyFile, "key", os.Getenv("ROLLCALL_GATEWAY_KEY"), "PEM file of its key (ROLLCALL_GATEWAY_KEY)")
	flags.StringVar(&o.clientCA, "client-ca", os.Getenv("ROLLCALL_CA_CERT"), "PEM file of the authority that signed the certificates of agents (ROLLCALL_CA_CERT)")
	flags.StringVar(&o.caCert, "ca-cert", os.Getenv("ROLLCALL_CA_CERT"), "PEM file of the authority that signs approved enrollment requests (ROLLCALL_CA_CERT)")
	flags.StringVar(&o.caKey, "ca-key", os.Getenv("ROLLCALL_CA_KEY"), "PEM file of its key; without it nothing is signed (ROLLCALL_CA_KEY)")
	flags.IntVar(&o.certDays, "cert-days", 365, "how many days the certificates are valid that it signs")
	flags.BoolVar(&o.plainHTTP, "plain-http", false, "serve without TLS, on a loopback address only: anybody there may speak for any device")
	flags.BoolVar(&o.render, "render", false, "render specs; a live Flight Control renders them itself")
	flags.IntVar(&o.reportsAtOnce, "reports-at-once", 0, "how many devices' reports may be under way in the roll call, before other agents are told to come later (default 500)")
	flags.StringVar(&o.org, "org", "", "organisation whose devices are served: its UUID, external id or display name (default the default one)")
	flags.StringVar(&o.metricsListen, "metrics-listen", os.Getenv("ROLLCALL_METRICS_LISTEN"), "address for /metrics, /healthz and /readyz, such as :9090; empty serves none (ROLLCALL_METRICS_LISTEN)")
	flags.StringVar(&o.logFormat, "log-format", os.Getenv("ROLLCALL_LOG_FORMAT"), "text or json (ROLLCALL_LOG_FORMAT)")
	flags.StringVar(&o.logLevel, "log-level", os.Getenv("ROLLCALL_LOG_LEVEL"), "debug, info, warn or error (ROLLCALL_LOG_LEVEL)")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("gateway takes no arguments, but got %q; see gateway -h", flags.Args())
		fmt.Fprintln(stderr, "error:", err)
		return o, err
	}
	return o, nil
}

// config is what the flags alone say, with the certificates read.
func (o options) config() (agentapi.Config, error) {
	cfg := agentapi.Config{Listen: o.listen, MetricsListen: o.metricsListen, PlainHTTP: o.plainHTTP, Render: o.render, ReportsAtOnce: o.reportsAtOnce}
	var err error
	if cfg.CA, err = o.authority(); err != nil {
		return cfg, err
	}
	cfg.CertificateLifetime = time.Duration(o.certDays) * 24 * time.Hour
	if o.plainHTTP {
		return cfg, nil
	}
	if o.certFile == "" || o.keyFile == "" || o.clientCA == "" {
		return cfg, errors.New("certificates are missing: set --cert, --key and --client-ca, or for a try on this machine --plain-http --listen 127.0.0.1:7443")
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
