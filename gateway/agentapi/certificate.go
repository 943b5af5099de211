package agentapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

// certified reads a request for its agent, signed first where that is due: where it has no certificate, or one of ours
// that ends soon or has ended. Of many who sign at once the first one counts, and all answer with its certificate.
func (g *Gateway) certified(ctx context.Context, name string) (inventory.AgentRequest, error) {
	for range maxReads {
		r, found, err := g.cfg.Store.AgentRequest(ctx, g.cfg.OrgID, name)
		if err != nil {
			return r, err
		}
		if !found {
			return r, problemf(http.StatusNotFound, "there is no enrollment request %q", name)
		}
		aging := g.aging(r)
		if !awaitsCertificate(r) && !aging.Due || !r.DeviceExists {
			return r, nil
		}
		certificate, err := g.sign(r)
		if err != nil {
			g.unsigned(name, err)
			if aging.Expired {
				r.Certificate = "" // it is worth none, and is not shown
			}
			return r, nil
		}
		if stored, err := g.cfg.Store.StoreCertificate(ctx, r, certificate); err != nil {
			return r, err
		} else if stored {
			g.metrics.signed.WithLabelValues("signed").Inc()
			g.cfg.Logger.Info("Certificate signed", "device", name)
		}
	}
	return inventory.AgentRequest{}, fmt.Errorf("enrollment request %s changes all the time", name)
}

// awaitsCertificate reports whether a request was approved and no one has signed it.
func awaitsCertificate(r inventory.AgentRequest) bool {
	return r.State == runbook.EnrollmentApproved && r.Certificate == ""
}

// aging tells how the certificate of an approved request stands, as far as it is for this gateway to sign it again.
func (g *Gateway) aging(r inventory.AgentRequest) authority.Aging {
	if g.cfg.CA == nil || r.State != runbook.EnrollmentApproved {
		return authority.Aging{}
	}
	return g.cfg.CA.Aging(r.Certificate, g.cfg.CertificateLifetime, time.Now())
}

func (g *Gateway) sign(r inventory.AgentRequest) ([]byte, error) {
	if g.cfg.CA == nil {
		return nil, fmt.Errorf("the gateway was given no authority's key")
	}
	csr, err := authority.ReadRequest(r.CSR)
	if err != nil {
		return nil, fmt.Errorf("read its signing request: %w", err)
	}
	return g.cfg.CA.Sign(csr, authority.Subject{Device: r.Metadata.Name, Organisation: g.cfg.OrgID},
		g.cfg.CertificateLifetime)
}

// unsigned tells, not at each of the agent's looks, that a device waits for a certificate that cannot be made here.
func (g *Gateway) unsigned(name string, err error) {
	g.metrics.signed.WithLabelValues("unable").Inc()
	now := time.Now()
	if g.enrolls.unsigned.since(name, now, startAgainAfter) {
		return
	}
	g.enrolls.unsigned.keep(name, now)
	g.cfg.Logger.Warn("Approved enrollment request cannot be signed here; it looks pending to its agent", "device", name,
		"error", err)
}

// shown is a request as its agent is told of it: there is always a list of conditions, without which agents fail, and
// an approval is shown only together with the certificate. Until then the agent goes on waiting, as for a human.
func shown(r inventory.AgentRequest) inventory.Resource {
	status := map[string]json.RawMessage{}
	_ = json.Unmarshal(r.Status, &status) // what is no object holds nothing to show
	if status == nil {
		status = map[string]json.RawMessage{}
	}
	conditions := []json.RawMessage{}
	_ = json.Unmarshal(status["conditions"], &conditions)
	if awaitsCertificate(r) {
		delete(status, "approval")
		delete(status, "certificate")
		conditions = without(conditions, string(runbook.EnrollmentApproved))
	}
	if conditions == nil {
		conditions = []json.RawMessage{}
	}
	status["conditions"], _ = json.Marshal(conditions)
	r.Status, _ = json.Marshal(status) // of what was JSON before
	return r.Resource
}

// without leaves the conditions of one type out.
func without(conditions []json.RawMessage, kind string) []json.RawMessage {
	left := []json.RawMessage{}
	for _, raw := range conditions {
		var condition struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(raw, &condition) != nil || condition.Type != kind {
			left = append(left, raw)
		}
	}
	return left
}
