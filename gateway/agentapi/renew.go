package agentapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

const kindSigningRequest = "CertificateSigningRequest"

// renewalsPerHour is how many certificates are signed in an hour for the same key, and at once. An agent needs one in
// most of a year, and a few more where its answers are lost.
const renewalsPerHour = 10

// signingRequest is a CertificateSigningRequest as an agent brings it.
type signingRequest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`

	spec struct {
		// Request is base64 of the PEM.
		Request           []byte   `json:"request"`
		SignerName        string   `json:"signerName"`
		Usages            []string `json:"usages"`
		ExpirationSeconds *int64   `json:"expirationSeconds"`
	}
}

// renewals serves the calls by which a device has its certificate renewed. Its present one says which device that is.
func (g *Gateway) renewals(what, method string, do call) http.Handler {
	return g.answering(what, []string{method}, func(w http.ResponseWriter, r *http.Request) error {
		if g.cfg.PlainHTTP {
			return problemf(http.StatusUnauthorized,
				"a certificate is renewed for the certificate that asks, and there is none without TLS")
		}
		id, err := g.client(r)
		if err != nil {
			return err
		}
		return g.admit(w, r, strings.TrimPrefix(id.CommonName, authority.DeviceCN), do)
	})
}

// postRenewal answers POST /certificatesigningrequests. It takes a CertificateSigningRequest as JSON and signs it
// at once, for the device of the client certificate and for no other. No person is asked, because the device has a
// certificate already.
func (g *Gateway) postRenewal(w http.ResponseWriter, r *http.Request, c caller) error {
	device := c.name
	body, err := g.readJSON(w, r, maxRequest)
	if err != nil {
		return err
	}
	in, err := decodeSigningRequest(body, device)
	if err != nil {
		return err
	}
	if _, err := g.read(r.Context(), c); err != nil {
		return err
	}
	certificate, err := g.renew(in, c)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(r.Context())
	defer cancel()
	stored, err := g.cfg.Store.StoreRenewal(ctx, inventory.Renewal{
		OrgID: g.cfg.OrgID, Device: device, Name: in.Metadata.Name, Request: in.spec.Request, Spec: in.Spec,
		Certificate: certificate,
	})
	switch {
	case err != nil:
		return err
	case !bytes.Equal(stored.Request, in.spec.Request):
		return problemf(http.StatusConflict,
			"certificate signing request %q is there already, with another request; use another name", in.Metadata.Name)
	}
	g.metrics.signed.WithLabelValues("renewed").Inc()
	g.cfg.Logger.Info("Certificate renewed", "device", device, "request", in.Metadata.Name)
	writeJSON(w, http.StatusCreated, shownRenewal(stored))
	return nil
}

// getRenewal answers GET /certificatesigningrequests/{name}. A device reads its own last request, and no other.
func (g *Gateway) getRenewal(w http.ResponseWriter, r *http.Request, c caller) error {
	if _, err := g.read(r.Context(), c); err != nil {
		return err
	}
	device := c.name
	ctx, cancel := bounded(r.Context())
	defer cancel()
	name := printable(r.PathValue("name"))
	stored, found, err := g.cfg.Store.RenewalOf(ctx, g.cfg.OrgID, device, r.PathValue("name"))
	switch {
	case err != nil:
		return err
	case !found:
		return problemf(http.StatusNotFound,
			"device %q has no certificate signing request %q; its last one is kept, and no other", device, name)
	}
	writeJSON(w, http.StatusOK, shownRenewal(stored))
	return nil
}

// renew signs a request for the key of the client certificate: another key is a person's to approve, by an enrollment
// request. A shorter lifetime that it asks for is kept.
func (g *Gateway) renew(in signingRequest, c caller) ([]byte, error) {
	device := c.name
	if g.cfg.CA == nil {
		return nil, problemf(http.StatusNotImplemented,
			"certificates are not renewed here: the gateway was given no authority's key (--ca-key)")
	}
	csr, err := authority.ReadRequest(string(in.spec.Request))
	if err != nil {
		return nil, invalid("spec.request cannot be signed: %v", err)
	}
	if of := strings.TrimPrefix(csr.CommonName(), authority.DeviceCN); of != device {
		return nil, problemf(http.StatusForbidden,
			"spec.request asks for a certificate of %q, and the client certificate is that of %q", printable(of), device)
	}
	if key, _, _ := authority.KeyOf(string(in.spec.Request)); key != c.certificate.Key {
		return nil, g.refuse("otherkey", problemf(http.StatusForbidden,
			"spec.request is of another key (SHA-256 %s) than the client certificate (%s); a renewal keeps the key, and a "+
				"new key needs an enrollment request", key, c.certificate.Key))
	}
	if !g.renewed.Allow(c.certificate.Key, time.Now()) {
		often := problemf(http.StatusTooManyRequests,
			"the certificate of device %q was renewed %d times within an hour; use the last one", device, renewalsPerHour)
		often.after = time.Minute
		return nil, g.refuse("renewals", often)
	}
	lifetime := g.cfg.CertificateLifetime
	if asked := in.spec.ExpirationSeconds; asked != nil && *asked < int64(lifetime/time.Second) {
		lifetime = time.Duration(*asked) * time.Second
	}
	of := authority.Subject{Device: device, Organisation: g.cfg.OrgID, Signer: authority.SignerRenewal}
	return g.cfg.CA.Sign(csr, of, lifetime)
}

// usages are those that a request may ask for; a client certificate has all of them.
var usages = []string{"clientAuth", "CA:false", "client auth", "digital signature", "digitalSignature"}

func decodeSigningRequest(body []byte, device string) (in signingRequest, err error) {
	if err := json.Unmarshal(body, &in); err != nil {
		return in, invalid("the body is not a %s: %v", kindSigningRequest, err)
	}
	if in.Kind != kindSigningRequest || !runbook.IsAPIVersion(in.APIVersion) {
		return in, invalid("the body is not a %s of Flight Control", kindSigningRequest)
	}
	name := in.Metadata.Name
	if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 || !strings.HasPrefix(name, device+"-") {
		return in, invalid("metadata.name: %q is not %q with a suffix", printable(name), device+"-")
	}
	if err := json.Unmarshal(orNull(in.Spec), &in.spec); err != nil {
		return in, invalid("spec cannot be read: %v", err)
	}
	if signer := in.spec.SignerName; signer != authority.SignerRenewal {
		return in, invalid("spec.signerName: %q does not sign here; %s does, and what others sign needs Flight Control's "+
			"own server",
			printable(signer), authority.SignerRenewal)
	}
	if i := slices.IndexFunc(in.spec.Usages, func(usage string) bool { return !slices.Contains(usages, usage) }); i >= 0 {
		return in, invalid("spec.usages: %q is not for a device's certificate", printable(in.spec.Usages[i]))
	}
	if asked := in.spec.ExpirationSeconds; asked != nil && *asked < 1 {
		return in, invalid("spec.expirationSeconds: %d is no lifetime", *asked)
	}
	return in, nil
}

// shownRenewal is a renewal as its agent is told of it. The certificate is base64 of the PEM, unlike that of an
// enrollment request.
func shownRenewal(r inventory.Renewal) map[string]any {
	at := r.CreatedAt.UTC().Format(time.RFC3339)
	return map[string]any{
		"apiVersion": inventory.APIVersion, "kind": kindSigningRequest,
		"metadata": map[string]any{"name": r.Name, "owner": inventory.KindDevice + "/" + r.Device, "creationTimestamp": at},
		"spec":     r.Spec,
		"status": map[string]any{
			"certificate": r.Certificate,
			"conditions": []any{map[string]string{
				"type": "Approved", "status": "True", "reason": "Approved", "lastTransitionTime": at,
				"message": fmt.Sprintf("Approved for the certificate of device %s", r.Device),
			}},
		},
	}
}
