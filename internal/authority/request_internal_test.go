package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnExpiredAuthoritySignsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "web-7"}}, key)
	require.NoError(t, err)
	csr, err := x509.ParseCertificateRequest(der)
	require.NoError(t, err)
	ca.cert.NotAfter = time.Now().Add(-time.Hour)
	_, err = ca.SignRequest(Request{csr: csr}, "web-7", time.Hour)
	require.ErrorContains(t, err, "the authority has expired")
}
