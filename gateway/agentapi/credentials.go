package agentapi

import (
	"context"
	"crypto/x509"
	"net/http"
	"time"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/inventory/credentials"
	"rollcall/runbook"
)

// caller is the device that a call is of, and what counts of the client certificate.
type caller struct {
	name        string
	certificate runbook.Certificate
}

// certificateOf is what counts of a client certificate.
func certificateOf(cert *x509.Certificate) runbook.Certificate {
	return runbook.Certificate{
		Serial: cert.SerialNumber.Text(16), Key: authority.Fingerprint(cert.RawSubjectPublicKeyInfo),
		Issued: cert.NotBefore,
	}
}

// mayAct refuses a certificate that was revoked, or is of a key that was replaced. The answer is a 403: an agent keeps
// its certificate, and tries again with its own back-off. A device that is not there is a 404 before.
func (g *Gateway) mayAct(c caller, d inventory.AgentDevice) error {
	if d.Revoked {
		return g.refuse("revoked", revoked(c.certificate))
	}
	if c.certificate.Key == "" {
		return nil // nothing is to be read of the device's key
	}
	known := d.Credentials.KnownKey()
	if !known.Replaces(c.certificate) {
		return nil
	}
	return g.refuse("replaced", problemf(http.StatusForbidden,
		"the client certificate of %q is of a key (SHA-256 %s) that was replaced on %s; use a certificate of the key "+
			"that was approved then", c.name, c.certificate.Key, known.Since.UTC().Format(time.RFC3339)))
}

func revoked(c runbook.Certificate) *problem {
	return problemf(http.StatusForbidden,
		"the client certificate (serial %s, key SHA-256 %s) was revoked; ask an operator for another one", c.Serial, c.Key)
}

// bootstrapMayAct refuses a bootstrap certificate that was revoked.
func (g *Gateway) bootstrapMayAct(ctx context.Context, c runbook.Certificate) error {
	if c.Serial == "" {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	is, err := credentials.IsRevoked(ctx, g.cfg.Store.DB(), g.cfg.OrgID, c)
	if err != nil || !is {
		return err
	}
	return g.refuse("revoked", revoked(c))
}

// withinConnections refuses a request on a connection that is one too many of its certificate's key, and has the
// connection closed: a device can have as many certificates of its key signed as it likes. All agents share a bootstrap
// certificate, which is bounded by address alone.
func (g *Gateway) withinConnections(next http.Handler) http.Handler {
	tooMany := problemf(http.StatusTooManyRequests,
		"the client certificate has %d connections open, as many as it may", g.cfg.ConnectionsPerCertificate)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			cert := r.TLS.PeerCertificates[0]
			key := string(cert.RawSubjectPublicKeyInfo)
			if !authority.IsEnrollment(cert.Subject.CommonName) && !g.connections.Admit(r, key) {
				w.Header().Set("Connection", "close")
				g.refuse("certificate", tooMany).write(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refuse counts a refusal.
func (g *Gateway) refuse(reason string, p *problem) *problem {
	g.metrics.refusals.WithLabelValues(reason).Inc()
	return p
}
