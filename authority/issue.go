package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// Device makes a key and a client certificate that names a device. A lifetime below zero makes one that has expired.
func (a *CA) Device(name string, lifetime time.Duration) (Pair, error) {
	if name == "" {
		return Pair{}, errors.New("issue a certificate: the device has no name")
	}
	return a.Client(DeviceCN+name, lifetime)
}

// Client makes a key and a client certificate of any common name.
func (a *CA) Client(commonName string, lifetime time.Duration) (Pair, error) {
	return a.issue(commonName, lifetime, x509.ExtKeyUsageClientAuth, nil)
}

// Server makes a key and a certificate for a server that is reached under these names and addresses.
func (a *CA) Server(hosts []string, lifetime time.Duration) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("issue a certificate: the server has no name")
	}
	return a.issue(hosts[0], lifetime, x509.ExtKeyUsageServerAuth, hosts)
}

func (a *CA) issue(commonName string, lifetime time.Duration, usage x509.ExtKeyUsage, hosts []string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("issue a certificate: make a key: %w", err)
	}
	template, err := newTemplate(commonName, lifetime)
	if err != nil {
		return Pair{}, fmt.Errorf("issue a certificate: %w", err)
	}
	if template.NotBefore.After(template.NotAfter) {
		template.NotBefore = template.NotAfter.Add(-time.Hour)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return newPair(template, a.cert, key.Public(), key, a.key)
}

// newPair signs template with the parent's key.
func newPair(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey, parentKey crypto.Signer) (Pair, error) {
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, public, parentKey)
	if err != nil {
		return Pair{}, fmt.Errorf("sign a certificate: %w", err)
	}
	return encode(cert, key)
}
