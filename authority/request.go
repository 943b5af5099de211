package authority

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

const pemRequest = "CERTIFICATE REQUEST"

// Request is a certificate signing request that may be signed: its signature is right, and its key is an ECDSA key.
type Request struct {
	csr *x509.CertificateRequest
}

// ReadRequest reads a signing request in PEM: one block and nothing beside it. The error says what is wrong.
func ReadRequest(text string) (Request, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN "):
		return Request{}, errors.New("it is not a block of PEM")
	case block.Type != pemRequest:
		return Request{}, fmt.Errorf("it is a %q and not a %s", block.Type, pemRequest)
	case strings.TrimSpace(string(rest)) != "":
		return Request{}, errors.New("there is more behind the block of PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return Request{}, err
	}
	if _, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok {
		return Request{}, errors.New("its key is not an ECDSA key")
	}
	if err := csr.CheckSignature(); err != nil {
		return Request{}, fmt.Errorf("its signature is not that of its key: %w", err)
	}
	return Request{csr: csr}, nil
}

// CommonName is whose certificate is asked for, which for an agent is the device's name.
func (r Request) CommonName() string { return r.csr.Subject.CommonName }

// KeyOf finds the public key of a signing request in PEM, whatever its kind and whether or not it may be signed: its
// fingerprint (the SHA-256 of the SubjectPublicKeyInfo, in hex), and the device name that is its hash, empty for a kind of key
// that names none. ok is false where there is none to be read.
func KeyOf(text string) (fingerprint, name string, ok bool) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return "", "", false
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "", "", false
	}
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	name, _ = DeviceName(csr.PublicKey)
	return hex.EncodeToString(sum[:]), name, true
}

// SignRequest makes the client certificate that a device asks for, in PEM. The request must name that device. It is never
// valid for longer than the authority itself, and one that has expired signs nothing.
func (a *CA) SignRequest(r Request, name string, lifetime time.Duration) ([]byte, error) {
	if name == "" || r.CommonName() != name {
		return nil, fmt.Errorf("sign the request of device %q: it asks for a certificate of %q", name, r.CommonName())
	}
	if time.Now().After(a.cert.NotAfter) {
		return nil, fmt.Errorf("sign the request of device %q: the authority has expired on %s", name, a.cert.NotAfter.Format(time.DateOnly))
	}
	template, err := newTemplate(DeviceCN+name, lifetime)
	if err != nil {
		return nil, fmt.Errorf("sign the request of device %q: %w", name, err)
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := x509.CreateCertificate(rand.Reader, template, a.cert, r.csr.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the request of device %q: %w", name, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert}), nil
}

// IsEnrollment tells whether a common name is that of a bootstrap certificate.
func IsEnrollment(commonName string) bool {
	suffix, ok := strings.CutPrefix(commonName, EnrollmentCN+"-")
	return commonName == EnrollmentCN || ok && suffix != ""
}
