package fake

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"rollcall/internal/authority"
)

// renewal is a certificate signing request of a device. They are kept in memory only.
type renewal struct {
	Metadata struct {
		Name   string `json:"name"`
		Owner  string `json:"owner"`
		Labels texts  `json:"labels,omitempty"`
	} `json:"metadata"`
	Spec struct {
		Request           []byte   `json:"request"`
		SignerName        string   `json:"signerName"`
		Usages            []string `json:"usages,omitempty"`
		ExpirationSeconds *int64   `json:"expirationSeconds,omitempty"`
	} `json:"spec"`
	Status struct {
		Certificate []byte `json:"certificate,omitempty"`
		Conditions  []any  `json:"conditions"`
	} `json:"status"`
}

type renewalID struct{ org, name string }

// MarshalJSON adds what each resource has.
func (r renewal) MarshalJSON() ([]byte, error) {
	type plain renewal
	return json.Marshal(struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		plain
	}{apiVersion, "CertificateSigningRequest", plain(r)})
}

// postRenewal takes a signing request of a device. One of the renewal signer is approved and signed at once; its answer
// has no certificate yet, and the agent reads the request. Others wait for a human.
func (f *FlightControl) postRenewal(c call) {
	d, err := f.device(c.r.Context(), f.db, c.org, c.device, "")
	switch {
	case err != nil:
		f.broken(c.w, err)
		return
	case d == nil, d.hasCondition("DeviceDecommissioning"):
		unauthorized(c.w, http.StatusText(http.StatusUnauthorized))
		return
	}
	var sent renewal
	if err := json.NewDecoder(c.r.Body).Decode(&sent); err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	certificate, err := f.renew(c, &sent)
	if err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	id := renewalID{c.org, sent.Metadata.Name}
	f.mu.Lock()
	_, there := f.renewals[id]
	if !there {
		stored := sent
		stored.Status.Certificate = certificate
		f.renewals[id] = &stored
	}
	f.mu.Unlock()
	if there {
		fail(c.w, http.StatusConflict, "Conflict", "a resource with this name already exists")
		return
	}
	reply(c.w, http.StatusCreated, sent)
}

// renew checks a request, gives it its owner and conditions, and signs it where no human has to approve it.
func (f *FlightControl) renew(c call, r *renewal) ([]byte, error) {
	csr, err := authority.ReadRequest(string(r.Spec.Request))
	if err != nil {
		return nil, fmt.Errorf("spec.request: %w", err)
	}
	r.Metadata.Owner, r.Status.Certificate, r.Status.Conditions = "Device/"+c.device, nil, []any{}
	switch signer := r.Spec.SignerName; {
	case signer == authority.SignerEnrollment:
		return nil, fmt.Errorf("signer name %q is not allowed in CertificateSigningRequest service; "+
			"use the EnrollmentRequest API instead", signer)
	case signer == authority.SignerBootstrap || !strings.HasPrefix(signer, "flightctl.io/"):
		return nil, fmt.Errorf("signer %q not found", signer)
	case signer != authority.SignerRenewal:
		return nil, nil
	case strings.TrimPrefix(csr.CommonName(), authority.DeviceCN) != c.device:
		return nil, fmt.Errorf("csr CN mismatch: csr=%q peer=%q", csr.CommonName(), authority.DeviceCN+c.device)
	}
	r.Status.Conditions = []any{map[string]any{
		"type": "Approved", "status": "True", "reason": "Approved", "message": "Auto-approved by " + r.Spec.SignerName,
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	}}
	lifetime := certificateLifetime
	if asked := r.Spec.ExpirationSeconds; asked != nil {
		lifetime = min(lifetime, time.Duration(*asked)*time.Second)
	}
	of := authority.Subject{Device: c.device, Organisation: c.org, Signer: authority.SignerRenewal}
	return f.cfg.CA.Sign(csr, of, lifetime)
}

// getRenewal shows a device its own requests.
func (f *FlightControl) getRenewal(c call) {
	f.mu.Lock()
	stored := f.renewals[renewalID{c.org, c.name()}]
	f.mu.Unlock()
	switch {
	case stored == nil:
		notFound(c.w, "CertificateSigningRequest", c.name())
	case stored.Metadata.Owner != "Device/"+c.device:
		unauthorized(c.w, http.StatusText(http.StatusUnauthorized))
	default:
		reply(c.w, http.StatusOK, stored)
	}
}

// hasCondition reports whether a device's status has a condition of this type.
func (d *device) hasCondition(of string) bool {
	all, _ := d.Status["conditions"].([]any)
	return slices.ContainsFunc(all, func(entry any) bool {
		c, _ := entry.(map[string]any)
		return c["type"] == of
	})
}
