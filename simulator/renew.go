package simulator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"rollcall/internal/authority"
)

const renewalPath = "/api/v1/certificatesigningrequests"

// renewal is a certificate that is being renewed.
type renewal struct {
	// name is the request's; empty is that none was taken.
	name string
	// attempts is how often it was tried, and at when it is tried next.
	attempts int64
	at       time.Time
}

// remainingShare is how much of its life a certificate has left when its agent begins to renew it.
const remainingShare = 0.75

// renewAt is when the certificate is renewed, or the renewal goes on.
func (a *agent) renewAt() time.Time {
	if a.renewal.attempts > 0 {
		return a.renewal.at
	}
	life := a.leaf.NotAfter.Sub(a.leaf.NotBefore)
	return a.leaf.NotAfter.Add(-time.Duration(remainingShare * float64(life)))
}

// renew does the next step: it makes a request with the present certificate and key, and looks at it until a
// certificate is there. A request that was denied, or is gone, is looked at all the same, as by the agents.
func (a *agent) renew(ctx context.Context) error {
	t := a.fleet.cfg.Timing
	wait := grown(t.RenewRetry, t.RenewRetryMax, 2, a.renewal.attempts)
	a.renewal.at = time.Now().Add(jittered(wait, 0.1, a.throw("renew", a.retries).Float64()))
	a.renewal.attempts++
	if a.renewal.name == "" {
		if err := a.askRenewal(ctx); err != nil {
			return err
		}
	}
	return a.lookForRenewal(ctx)
}

// askRenewal makes the request. An agent goes on after 200 and 201.
func (a *agent) askRenewal(ctx context.Context) error {
	csr, err := a.signingRequest()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%08x", a.name, a.throw("renewal", a.renewals).Uint32())
	a.renewals++
	body, err := json.Marshal(map[string]any{
		"apiVersion": apiVersion, "kind": "CertificateSigningRequest", "metadata": map[string]string{"name": name},
		"spec": map[string]any{
			"request": csr, "signerName": authority.SignerRenewal, "usages": []string{"clientAuth", "CA:false"},
		},
	})
	if err != nil {
		return fmt.Errorf("write a renewal: %w", err)
	}
	got, err := a.device(ctx, http.MethodPost, renewalPath, body)
	switch {
	case err != nil:
		return err
	case got.code != http.StatusOK && got.code != http.StatusCreated:
		return a.fleet.failed("ask for a new certificate", got)
	}
	a.renewal.name = name
	return nil
}

// lookForRenewal takes the certificate where the request is approved.
func (a *agent) lookForRenewal(ctx context.Context) error {
	got, err := a.device(ctx, http.MethodGet, renewalPath+"/"+url.PathEscape(a.renewal.name), nil)
	switch {
	case err != nil:
		return err
	case got.code != http.StatusOK || !got.json:
		return a.fleet.failed("look for the new certificate", got)
	}
	var request struct {
		Status struct {
			Certificate string      `json:"certificate"`
			Conditions  []condition `json:"conditions"`
		} `json:"status"`
	}
	if err := json.Unmarshal(got.body, &request); err != nil {
		return a.fleet.unreachable("read the renewal", err)
	}
	is := func(kind string) bool { return slices.Contains(request.Status.Conditions, condition{kind, "True"}) }
	switch {
	case is("Approved") && request.Status.Certificate != "":
		return a.renewed(request.Status.Certificate)
	case !is("Approved") && (is("Denied") || is("Failed")):
		return a.fleet.unreachable("renew the certificate", errors.New("it is denied, or has failed"))
	}
	return nil
}

// renewed shows the new certificate, which is base64 of PEM, from now on.
func (a *agent) renewed(text string) error {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return a.fleet.unreachable("read the new certificate", err)
	}
	certificate, err := certificateOf(string(decoded), a.key)
	if err != nil {
		return a.fleet.unreachable("read the new certificate", err)
	}
	a.show(certificate)
	a.renewal = renewal{}
	a.fleet.counts.renewed.Add(1)
	a.decide("has a new certificate")
	return nil
}

// device makes a request with the device's certificate, which no poll is.
func (a *agent) device(ctx context.Context, method, path string, body []byte) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	got, err := a.fleet.call(limited, a.http, method, path, body)
	if err != nil && ctx.Err() == nil {
		err = a.fleet.unreachable("renew the certificate", err)
	}
	return got, err
}
