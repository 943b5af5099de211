package authority

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"
)

// A signing request is read or refused. One that is read has a key, whatever else is in it.
func FuzzReadRequest(f *testing.F) {
	f.Add("")
	f.Add("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n")
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: []byte("x")})))
	f.Fuzz(func(t *testing.T, text string) {
		fingerprint, _, ok := KeyOf(text)
		require.Equal(t, ok, len(fingerprint) == 64)
		request, err := ReadRequest(text)
		if err == nil {
			require.True(t, ok)
			_ = request.CommonName()
		}
	})
}

// The extensions of a client certificate are read or refused, whatever bytes they hold.
func FuzzIdentityOf(f *testing.F) {
	f.Add([]byte{}, []byte{12, 1, 'a'})
	f.Add([]byte{19, 1, 'a'}, []byte{12, 1, 'a', 0})
	f.Fuzz(func(t *testing.T, signer, organisation []byte) {
		id, err := IdentityOf(&x509.Certificate{Extensions: []pkix.Extension{
			{Id: oidSigner, Value: signer}, {Id: oidOrganisation, Value: organisation},
		}})
		if err == nil {
			require.LessOrEqual(t, len(id.Signer), len(signer))
			require.LessOrEqual(t, len(id.Organisation), len(organisation))
		}
	})
}
