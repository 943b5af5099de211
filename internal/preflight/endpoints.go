package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"rollcall/flightctl"
	"rollcall/runbook"
)

// expiresSoon is when a certificate's end is worth a warning.
const expiresSoon = 7 * 24 * time.Hour

func gateway(ctx context.Context, o Options) []flightctl.Finding {
	if o.GatewayURL == "" {
		if o.beside() {
			return nil
		}
		return []flightctl.Finding{
			warning(SubjectGateway, "not looked at, because it is not known where it is", "set ROLLCALL_GATEWAY_URL"),
		}
	}
	certificate, err := o.shake(ctx)
	switch {
	case err != nil && o.beside():
		return nil // there is none, as it should be
	case err != nil:
		return []flightctl.Finding{failed(SubjectGateway, fmt.Sprintf("%s: %v", o.GatewayURL, err),
			"see whether the gateway runs, and whether ROLLCALL_GATEWAY_URL and ROLLCALL_CA_CERT are right")}
	case o.beside():
		return []flightctl.Finding{warning(SubjectGateway,
			o.GatewayURL+" answers agents, too, while the mode is "+string(runbook.ModeFlightctl),
			"stop it: beside Flight Control its own API server answers the agents")}
	}
	if left := time.Until(certificate.NotAfter); left < expiresSoon {
		return []flightctl.Finding{
			warning(SubjectGateway, fmt.Sprintf("the certificate of %s ends in %s", o.GatewayURL, left.Round(time.Minute)),
				"renew it"),
		}
	}
	return []flightctl.Finding{ok(SubjectGateway, o.GatewayURL+" answers", "")}
}

// old looks whether the control plane that was lost answers again: then agents may report to it, and not to the
// restored one.
func old(ctx context.Context, o Options) []flightctl.Finding {
	if o.OldURL == "" {
		return nil
	}
	address, err := addressOf(o.OldURL)
	if err != nil {
		return []flightctl.Finding{failed(SubjectOld, err.Error(), "write it as https://host:port")}
	}
	conn, err := (&net.Dialer{Timeout: partTimeout / 3}).DialContext(ctx, "tcp", address)
	if err != nil {
		return []flightctl.Finding{ok(SubjectOld, o.OldURL+" does not answer", "")}
	}
	_ = conn.Close()
	return []flightctl.Finding{warning(SubjectOld, o.OldURL+" still answers, so agents may report to it",
		"stop it for good, or move its name and address to the restored one, before a device is resumed")}
}

// shake connects to the gateway and returns its certificate. That it wants one of ours it says only later.
func (o Options) shake(ctx context.Context) (*x509.Certificate, error) {
	host, err := addressOf(o.GatewayURL)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.GatewayCA != "" {
		text, err := os.ReadFile(o.GatewayCA)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no PEM certificate", o.GatewayCA)
		}
	}
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// addressOf is the host and port of a URL.
func addressOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%q is not a URL", address)
	}
	switch {
	case u.Port() != "":
		return u.Host, nil
	case u.Scheme == "http":
		return net.JoinHostPort(u.Hostname(), "80"), nil
	}
	return net.JoinHostPort(u.Hostname(), "443"), nil
}
