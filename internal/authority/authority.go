// Package authority is a certificate authority on two files: it signs the client certificates by which agents name
// their device, and the gateway's own.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"
)

// DeviceCN is what the common name of a device's client certificate begins with; its name follows.
const DeviceCN = "device:"

// ownLifetime is that of an authority that is made here, for trying things out.
const ownLifetime = 10 * 365 * 24 * time.Hour

// backdate lets a certificate count for peers whose clock is behind ours.
const backdate = 5 * time.Minute

// CA signs certificates. It is safe for use by many goroutines.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// LoadOrMake is Load, and where neither file exists it makes an authority and writes both.
func LoadOrMake(certFile, keyFile string) (*CA, error) {
	_, certErr := os.Stat(certFile)
	_, keyErr := os.Stat(keyFile)
	if !errors.Is(certErr, os.ErrNotExist) || !errors.Is(keyErr, os.ErrNotExist) {
		return Load(certFile, keyFile)
	}
	pair, err := newCA()
	if err == nil {
		err = pair.Write(certFile, keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	return Load(certFile, keyFile)
}

// Load reads an authority's certificate and key from PEM files. The error names the file, and says what is wrong: no
// PEM, no authority, a key of another certificate, expired.
func Load(certFile, keyFile string) (*CA, error) {
	cert, err := readCertificate(certFile)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !cert.IsCA:
		return nil, fmt.Errorf("%s is not the certificate of an authority (basic constraint CA)", certFile)
	case !ok || !public.Equal(key.Public()):
		return nil, fmt.Errorf("the key in %s is not that of the certificate in %s", keyFile, certFile)
	case time.Now().After(cert.NotAfter):
		return nil, fmt.Errorf("the authority in %s has expired on %s", certFile, cert.NotAfter.Format(time.DateOnly))
	}
	return &CA{cert: cert, key: key}, nil
}

// Certificate is the authority's own.
func (a *CA) Certificate() *x509.Certificate { return a.cert }

// Pool trusts this authority and no other.
func (a *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func newCA() (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key: %w", err)
	}
	template, err := newTemplate("Rollcall CA", ownLifetime)
	if err != nil {
		return Pair{}, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return newPair(template, template, key.Public(), key, key)
}

func newTemplate(commonName string, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: commonName}, NotBefore: now.Add(-backdate),
		NotAfter: now.Add(lifetime),
	}, nil
}
