package authority

import (
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"slices"
)

// Names of the signers by which Flight Control's own server tells a device's certificate from others. A certificate
// without one is answered 401 there, and its agent is locked out: it does not enroll again after that.
const (
	SignerEnrollment = "flightctl.io/device-enrollment"         // the first certificate of a device
	SignerRenewal    = "flightctl.io/device-management-renewal" // each one after it
	SignerBootstrap  = "flightctl.io/enrollment"                // the one to enroll with, which agents share
)

// defaultOrganisation is Flight Control's.
const defaultOrganisation = "00000000-0000-0000-0000-000000000000"

// The extensions of a device's certificate, each a string.
var (
	oidSigner       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1, 1}
	oidOrganisation = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1, 2}
	oidFingerprint  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1, 3}
)

// Identity is what a client certificate says beside its key. A part that is not there is empty.
type Identity struct {
	CommonName string
	// Signer is the name of the signer, and Organisation a UUID.
	Signer, Organisation string
}

// IdentityOf reads it. The error says which extension cannot be read.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	id := Identity{CommonName: cert.Subject.CommonName}
	for _, e := range cert.Extensions {
		var text *string
		switch {
		case e.Id.Equal(oidSigner):
			text = &id.Signer
		case e.Id.Equal(oidOrganisation):
			text = &id.Organisation
		default:
			continue
		}
		// A PrintableString or a UTF8String.
		if rest, err := asn1.Unmarshal(e.Value, text); err != nil || len(rest) > 0 {
			return id, fmt.Errorf("the extension %s of the certificate of %q is not a string", e.Id, id.CommonName)
		}
	}
	return id, nil
}

// mark gives the certificate of a device its extensions.
func (s Subject) mark(template *x509.Certificate) error {
	return extend(template, map[string]asn1.ObjectIdentifier{
		cmp.Or(s.Signer, SignerEnrollment):          oidSigner,
		cmp.Or(s.Organisation, defaultOrganisation): oidOrganisation,
		template.Subject.CommonName:                 oidFingerprint,
	})
}

// extend adds extensions, ordered by their text so that two certificates of one device are alike.
func extend(template *x509.Certificate, extensions map[string]asn1.ObjectIdentifier) error {
	for _, text := range slices.Sorted(maps.Keys(extensions)) {
		value, err := asn1.Marshal(text)
		if err != nil {
			return fmt.Errorf("write the extension %s: %w", extensions[text], err)
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: extensions[text], Value: value})
	}
	return nil
}
