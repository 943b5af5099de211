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

// enroll does the next step towards a certificate: it asks, and then looks what has become of that. After looksAtOnce
// looks the agent ends itself, is started again and asks again.
func (a *agent) enroll(ctx context.Context) error {
	a.enter(StateEnrolling)
	if wait := time.Until(a.askAt); wait > 0 {
		sleep(ctx, wait)
		return nil
	}
	if !a.asked {
		return a.ask(ctx)
	}
	a.lookLater()
	got, err := a.look(ctx)
	if err != nil {
		return err
	}
	return a.decided(got.body)
}

// looksAtOnce is how often an agent looks, or asks, before it ends itself.
const looksAtOnce = 6

// lookLater puts the next step off, ever longer.
func (a *agent) lookLater() {
	t := a.fleet.cfg.Timing
	if a.looks++; a.looks > looksAtOnce {
		a.restart()
		return
	}
	a.askAt = time.Now().Add(grown(t.EnrollEvery, t.EnrollMax, 1.5, a.looks-1))
}

// restart ends the agent while it enrolls; it is started again after a moment, and asks again.
func (a *agent) restart() {
	a.asked, a.looks = false, 0
	a.askAt = time.Now().Add(a.fleet.cfg.Timing.Restart)
}

// look reads the request. Anything but a 200 is a failure.
func (a *agent) look(ctx context.Context) (answer, error) {
	got, err := a.bootstrap(ctx, http.MethodGet, enrollmentPath+"/"+url.PathEscape(a.name), nil)
	if err == nil && (got.code != http.StatusOK || !got.json) {
		err = a.fleet.failed("look for the enrollment request", got)
	}
	return got, err
}

// ask makes the enrollment request. An agent goes on after 201, and after 409 where it can read the request that is
// there. Any other answer, 200 among them, is a failure.
func (a *agent) ask(ctx context.Context) error {
	body, err := a.request()
	if err != nil {
		return err
	}
	a.lookLater()
	got, err := a.bootstrap(ctx, http.MethodPost, enrollmentPath, body)
	switch {
	case err != nil:
		return err
	case got.code == http.StatusConflict:
		if _, err := a.look(ctx); err != nil {
			return err
		}
	case got.code != http.StatusCreated || !got.json:
		return a.fleet.failed("ask to be enrolled", got)
	}
	a.asked, a.looks, a.askAt = true, 0, time.Time{}
	a.answered()
	a.decide("asks to be enrolled", "version", a.version)
	return nil
}

// request is the enrollment request. Its version is the one that was served last, and is left out where there is none.
func (a *agent) request() ([]byte, error) {
	csr, err := a.signingRequest()
	if err != nil {
		return nil, err
	}
	spec := map[string]any{
		"csr": string(csr), "deviceStatus": a.status(), "labels": map[string]string{"alias": a.plan.Name}, "osMode": "image",
	}
	if a.known != "" {
		spec["knownRenderedVersion"] = a.known
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": apiVersion, "kind": "EnrollmentRequest", "metadata": map[string]string{"name": a.name}, "spec": spec,
	})
	if err != nil {
		return nil, fmt.Errorf("write an enrollment request: %w", err)
	}
	return body, nil
}

// signingRequest asks for a certificate of the agent's name and key, in PEM.
func (a *agent) signingRequest() ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: a.name}}, a.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), nil
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

// decided takes what has become of the request: nothing yet, a certificate, or an end, after which the agent gives up.
// A condition counts by its type alone. Where there is no list of conditions the agent ends itself and asks again.
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
		a.restart()
		return a.fleet.unreachable("read the enrollment request", errors.New("status.conditions is missing"))
	}
	is := func(kind string) bool {
		return slices.ContainsFunc(*request.Status.Conditions, func(c condition) bool { return c.Type == kind })
	}
	switch {
	case is("Denied"), is("Failed"):
		a.decide("is denied")
		a.enter(StateDenied)
		return nil
	case !is("Approved") || request.Status.Certificate == "":
		return nil
	}
	certificate, err := certificateOf(request.Status.Certificate, a.key)
	if err != nil {
		a.restart()
		return a.fleet.unreachable("read the certificate", err)
	}
	a.show(certificate)
	a.told, a.sayAt, a.pollAt = nil, time.Time{}, time.Time{}
	a.fleet.counts.enrolled.Add(1)
	a.decide("is enrolled")
	return nil
}

// show makes a certificate the one that the agent shows from now on.
func (a *agent) show(certificate tls.Certificate) {
	if a.http != nil {
		a.http.CloseIdleConnections()
	}
	a.http, a.leaf = a.fleet.client(certificate), certificate.Leaf
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
