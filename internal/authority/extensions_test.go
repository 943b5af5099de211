package authority

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestADevicesCertificateSaysWhoSignedItAndForWhom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	parse := func(p Pair, err error) *x509.Certificate {
		t.Helper()
		require.NoError(t, err)
		block, _ := pem.Decode(p.Cert)
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		return cert
	}
	const org = "00000000-0000-0000-0000-0000000000aa"
	cert := parse(ca.DeviceOf(Subject{Device: "web-1", Organisation: org, Signer: SignerRenewal}, time.Hour))
	id, err := IdentityOf(cert)
	require.NoError(t, err)
	require.Equal(t, Identity{CommonName: "device:web-1", Signer: SignerRenewal, Organisation: org}, id)
	texts := map[string]string{}
	for _, e := range cert.Extensions {
		var text asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &text); err == nil && text.Tag == asn1.TagPrintableString {
			texts[e.Id.String()] = string(text.Bytes)
		}
	}
	require.Equal(t, map[string]string{
		"1.3.6.1.4.1.99999.1.1": SignerRenewal, "1.3.6.1.4.1.99999.1.2": org, "1.3.6.1.4.1.99999.1.3": "device:web-1",
	}, texts)
	id, err = IdentityOf(parse(ca.Device("web-1", time.Hour)))
	require.NoError(t, err)
	require.Equal(t, Identity{CommonName: "device:web-1", Signer: SignerEnrollment, Organisation: defaultOrganisation}, id)
	id, err = IdentityOf(parse(ca.Enrollment("", time.Hour)))
	require.NoError(t, err)
	require.Equal(t, Identity{CommonName: EnrollmentCN, Signer: SignerBootstrap, Organisation: defaultOrganisation}, id)

	utf8, err := asn1.MarshalWithParams(org, "utf8")
	require.NoError(t, err)
	id, err = IdentityOf(&x509.Certificate{Extensions: []pkix.Extension{{Id: oidOrganisation, Value: utf8}}})
	require.NoError(t, err)
	require.Equal(t, org, id.Organisation)
	_, err = IdentityOf(&x509.Certificate{Extensions: []pkix.Extension{{Id: oidOrganisation, Value: []byte{5, 0}}}})
	require.ErrorContains(t, err, "1.3.6.1.4.1.99999.1.2")
}
