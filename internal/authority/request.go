package authority

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
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
	csr, err := parseRequest(text)
	if err == nil {
		err = signedHere(text, csr)
	}
	if err != nil {
		return Request{}, err
	}
	return Request{csr: csr}, nil
}

// parseRequest reads what any authority signs. It is as lenient as Flight Control's server.
func parseRequest(text string) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil && isTPM(text):
		return nil, errors.New("it comes from a TPM (TCG-CSR-IDEVID), and only Flight Control's own server signs such a " +
			"request")
	case block == nil:
		return nil, errNoPEM
	case block.Type != pemRequest:
		return nil, fmt.Errorf("it is a %q and not a %s", block.Type, pemRequest)
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("there is more behind the block of PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("its signature is not that of its key: %w", err)
	}
	return csr, nil
}

var errNoPEM = errors.New("it is not a block of PEM")

// signedHere is why this authority does not sign a request that another one may sign.
func signedHere(text string, csr *x509.CertificateRequest) error {
	if !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN ") {
		return errNoPEM
	}
	if _, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok {
		return errors.New("its key is not an ECDSA key")
	}
	return nil
}

// isTPM reports whether text is a TPM's signing request, binary or in base64. It begins with its version, 1.0, and has
// three lengths at least (TCG TPM 2.0 Keys for Device Identity and Attestation, 13.1).
func isTPM(text string) bool {
	const version, header = "\x01\x00\x01\x00", 12
	if strings.HasPrefix(text, version) && len(text) >= header {
		return true
	}
	binary, err := base64.StdEncoding.DecodeString(text)
	return err == nil && strings.HasPrefix(string(binary), version) && len(binary) >= header
}

// Inspection is what is known of a signing request before anyone signs it.
type Inspection struct {
	// Device is the device that it asks a certificate for.
	Device string
	// TPM reports whether it comes from a TPM.
	TPM bool
	// Wrong is why no authority signs it, and WrongHere why this one does not.
	Wrong, WrongHere error
}

// Inspect finds out whether a signing request can be signed, by this authority or by any.
func Inspect(text string) Inspection {
	csr, err := parseRequest(text)
	if err != nil {
		return Inspection{TPM: isTPM(text), Wrong: err}
	}
	return Inspection{Device: strings.TrimPrefix(csr.Subject.CommonName, DeviceCN), WrongHere: signedHere(text, csr)}
}

// CommonName is whose certificate is asked for, which for an agent is the device's name.
func (r Request) CommonName() string { return r.csr.Subject.CommonName }

// KeyOf finds the public key of a signing request in PEM, whatever its kind and whether or not it may be signed: its
// Fingerprint, and the device name that is its hash, empty for a kind
// of key that names none. ok is false where there is none to be read.
func KeyOf(text string) (fingerprint, name string, ok bool) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return "", "", false
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "", "", false
	}
	name, _ = DeviceName(csr.PublicKey)
	return Fingerprint(csr.RawSubjectPublicKeyInfo), name, true
}

// Fingerprint is that of a key, of its SubjectPublicKeyInfo in DER: the SHA-256 in hex.
func Fingerprint(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

// Subject is whose certificate is signed.
type Subject struct {
	Device string
	// Organisation is a UUID; empty is the default one.
	Organisation string
	// Signer is SignerEnrollment, which empty stands for, or SignerRenewal.
	Signer string
}

// SignRequest signs the first certificate of a device of the default organisation.
func (a *CA) SignRequest(r Request, name string, lifetime time.Duration) ([]byte, error) {
	return a.Sign(r, Subject{Device: name}, lifetime)
}

// Sign makes the client certificate that a device asks for, in PEM, with the extensions that Flight Control's own
// server looks for. The request must name that device, with or without DeviceCN before it. The certificate is never
// valid for longer than the authority itself, and an authority that has expired signs nothing.
func (a *CA) Sign(r Request, of Subject, lifetime time.Duration) ([]byte, error) {
	name := of.Device
	if name == "" || strings.TrimPrefix(r.CommonName(), DeviceCN) != name {
		return nil, fmt.Errorf("sign the request of device %q: it asks for a certificate of %q", name, r.CommonName())
	}
	if time.Now().After(a.cert.NotAfter) {
		return nil, fmt.Errorf("sign the request of device %q: the authority has expired on %s", name,
			a.cert.NotAfter.Format(time.DateOnly))
	}
	template, err := newTemplate(DeviceCN+name, lifetime)
	if err == nil {
		err = of.mark(template)
	}
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

// IsEnrollment reports whether a common name is that of a bootstrap certificate.
func IsEnrollment(commonName string) bool {
	suffix, ok := strings.CutPrefix(commonName, EnrollmentCN+"-")
	return commonName == EnrollmentCN || ok && suffix != ""
}
