package simulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const enrollmentPath = "/api/v1/enrollmentrequests"

// enroll does the next step towards a certificate: it asks, and then looks what has become of that.
func (a *agent) enroll(ctx context.Context) error {
	a.enter(StateEnrolling)
	if !a.asked {
		return a.ask(ctx)
	}
	wait := enrollEvery + time.Duration(a.throw("enroll", a.retries).Float64()*float64(enrollEvery)/2)
	if !sleep(ctx, wait) {
		return nil
	}
	got, err := a.bootstrap(ctx, http.MethodGet, enrollmentPath+"/"+url.PathEscape(a.name), nil)
	switch {
	case err != nil:
		return err
	case got.code == http.StatusNotFound:
		a.asked = false
		return a.fleet.failed("look for the enrollment request", got)
	case got.code != http.StatusOK:
		return a.fleet.failed("look for the enrollment request", got)
	}
	return a.decided(got.body)
}

// ask makes the enrollment request. One that is there already is this agent's: its name is its key's.
func (a *agent) ask(ctx context.Context) error {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: a.name}}, a.key)
	if err != nil {
		return fmt.Errorf("make a certificate request: %w", err)
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": apiVersion, "kind": "EnrollmentRequest", "metadata": map[string]string{"name": a.name},
		"spec": map[string]any{
			"csr":          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
			"deviceStatus": a.status(), "labels": map[string]string{"alias": a.plan.Name}, "knownRenderedVersion": a.version,
		},
	})
	if err != nil {
		return fmt.Errorf("write an enrollment request: %w", err)
	}
	got, err := a.bootstrap(ctx, http.MethodPost, enrollmentPath, body)
	if err != nil {
		return err
	}
	switch got.code {
	case http.StatusOK, http.StatusCreated, http.StatusConflict:
		a.asked = true
		a.answered()
		a.decide("asks to be enrolled", "version", a.version)
		return nil
	}
	return a.fleet.failed("ask to be enrolled", got)
}

func (a *agent) bootstrap(ctx context.Context, method, path string, body []byte) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	got, err := a.fleet.call(limited, a.fleet.bootstrap, method, path, body)
	switch {
	case err != nil && ctx.Err() != nil:
		return got, ctx.Err()
	case err != nil:
		return got, a.fleet.unreachable("enroll", err)
	}
	return got, nil
}

type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
}

// decided takes what has become of the request: nothing yet, a certificate, or a denial, after which the agent gives up.
func (a *agent) decided(body []byte) error {
	var request struct {
		Status *struct {
			Certificate string       `json:"certificate"`
			Conditions  *[]condition `json:"conditions"`
		} `json:"status"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return a.fleet.unreachable("read the enrollment request", err)
	}
	if request.Status == nil || request.Status.Conditions == nil {
		return a.fleet.unreachable("read the enrollment request", errors.New("status.conditions is missing"))
	}
	is := func(kind string) bool { return slices.Contains(*request.Status.Conditions, condition{kind, "True"}) }
	switch {
	case is("Denied"):
		a.decide("is denied")
		a.enter(StateDenied)
		return nil
	case !is("Approved") || request.Status.Certificate == "":
		return nil
	}
	certificate, err := certificateOf(request.Status.Certificate, a.key)
	if err != nil {
		return a.fleet.unreachable("read the certificate", err)
	}
	a.http, a.unsaid = a.fleet.client(certificate), true
	a.fleet.counts.enrolled.Add(1)
	a.decide("is enrolled")
	return nil
}

// certificateOf is a certificate in PEM with the key that it is for.
func certificateOf(text string, key *ecdsa.PrivateKey) (tls.Certificate, error) {
	certificate := tls.Certificate{PrivateKey: key}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate.Certificate = append(certificate.Certificate, block.Bytes)
	}
	if len(certificate.Certificate) == 0 {
		return certificate, errors.New("it is no PEM")
	}
	var err error
	if certificate.Leaf, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
		return certificate, err
	}
	if !key.PublicKey.Equal(certificate.Leaf.PublicKey) {
		return certificate, errors.New("it is for another key")
	}
	return certificate, nil
}

// signer is the key of a certificate that the authority has made.
func signer(certificate tls.Certificate) (*ecdsa.PrivateKey, error) {
	key, ok := certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the certificate's key is no ECDSA key")
	}
	return key, nil
}
