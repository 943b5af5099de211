package agentapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
)

// An agent presents its certificate alone, so that trust in the root of the authority that signs is not enough.
func TestTheAuthorityThatSignsMustItselfBeTrusted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	root, err := authority.LoadOrMake(at("root.crt"), at("root.key"))
	require.NoError(t, err)
	pair, err := tls.LoadX509KeyPair(at("root.crt"), at("root.key"))
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "signer"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, root.Certificate(), key.Public(), pair.PrivateKey)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t,
		os.WriteFile(at("signer.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t,
		os.WriteFile(at("signer.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	signer, err := authority.Load(at("signer.crt"), at("signer.key"))
	require.NoError(t, err)

	cfg := agentapi.Config{Logger: quiet(), Listen: "127.0.0.1:0", Certificate: &pair, ClientCAs: root.Pool(), CA: signer}
	_, err = agentapi.New(cfg)
	require.ErrorContains(t, err, `certificates of the authority "signer" would not be accepted`)
	cfg.ClientCAs.AddCert(signer.Certificate())
	g, err := agentapi.New(cfg)
	require.NoError(t, err)
	require.NotEmpty(t, g.Address())
}
