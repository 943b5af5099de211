package authority

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"time"
)

// Device makes a key and a client certificate that names a device of the default organisation. A lifetime below zero
// makes one that has expired.
func (a *CA) Device(name string, lifetime time.Duration) (Pair, error) {
	return a.DeviceOf(Subject{Device: name}, lifetime)
}

// DeviceOf is Device for a device of any organisation.
func (a *CA) DeviceOf(of Subject, lifetime time.Duration) (Pair, error) {
	if of.Device == "" {
		return Pair{}, errors.New("issue a certificate: the device has no name")
	}
	return a.issue(DeviceCN+of.Device, lifetime, x509.ExtKeyUsageClientAuth, nil, of.mark)
}

// Client makes a key and a client certificate of any common name, without extensions.
func (a *CA) Client(commonName string, lifetime time.Duration) (Pair, error) {
	return a.issue(commonName, lifetime, x509.ExtKeyUsageClientAuth, nil, plain)
}

// EnrollmentOf makes a key and a bootstrap certificate of an organisation; empty is the default one. An empty suffix
// is the plain common name.
func (a *CA) EnrollmentOf(organisation, suffix string, lifetime time.Duration) (Pair, error) {
	name := EnrollmentCN
	if suffix != "" {
		name += "-" + suffix
	}
	return a.issue(name, lifetime, x509.ExtKeyUsageClientAuth, nil, func(template *x509.Certificate) error {
		return extend(template, map[string]asn1.ObjectIdentifier{
			SignerBootstrap: oidSigner, cmp.Or(organisation, defaultOrganisation): oidOrganisation,
		})
	})
}

// plain adds no extensions.
func plain(*x509.Certificate) error { return nil }

// Server makes a key and a certificate for a server that is reached under these names and addresses.
func (a *CA) Server(hosts []string, lifetime time.Duration) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("issue a certificate: the server has no name")
	}
	return a.issue(hosts[0], lifetime, x509.ExtKeyUsageServerAuth, hosts, plain)
}

func (a *CA) issue(commonName string, lifetime time.Duration, usage x509.ExtKeyUsage, hosts []string,
	mark func(*x509.Certificate) error,
) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("issue a certificate: make a key: %w", err)
	}
	template, err := newTemplate(commonName, lifetime)
	if err == nil {
		err = mark(template)
	}
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
func newPair(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey,
	parentKey crypto.Signer,
) (Pair, error) {
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, public, parentKey)
	if err != nil {
		return Pair{}, fmt.Errorf("sign a certificate: %w", err)
	}
	return encode(cert, key)
}
