package authority_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
)

func files(t *testing.T) (cert, key string) {
	dir := t.TempDir()
	return filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
}

func made(t *testing.T) *authority.CA {
	t.Helper()
	ca, err := authority.LoadOrMake(files(t))
	require.NoError(t, err)
	return ca
}

func leaf(t *testing.T, p authority.Pair) *x509.Certificate {
	t.Helper()
	pair, err := p.TLS()
	require.NoError(t, err)
	return pair.Leaf
}

func TestAnAuthorityIsMadeOnce(t *testing.T) {
	t.Parallel()
	cert, key := files(t)
	first, err := authority.LoadOrMake(cert, key)
	require.NoError(t, err)
	again, err := authority.LoadOrMake(cert, key)
	require.NoError(t, err)
	require.True(t, first.Certificate().Equal(again.Certificate()))
	info, err := os.Stat(key)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestACertificateIsForOneUse(t *testing.T) {
	t.Parallel()
	ca := made(t)
	pair, err := ca.Device("web-7", time.Hour)
	require.NoError(t, err)
	device := leaf(t, pair)
	require.Equal(t, "device:web-7", device.Subject.CommonName)
	client := x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	_, err = device.Verify(client)
	require.NoError(t, err)
	_, err = device.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	require.Error(t, err)
	_, err = device.Verify(x509.VerifyOptions{Roots: made(t).Pool(), KeyUsages: client.KeyUsages})
	require.Error(t, err, "another authority's")

	pair, err = ca.Server([]string{"localhost", "127.0.0.1"}, time.Hour)
	require.NoError(t, err)
	server := leaf(t, pair)
	require.NoError(t, server.VerifyHostname("localhost"))
	require.NoError(t, server.VerifyHostname("127.0.0.1"))
	require.Error(t, server.VerifyHostname("example.com"))
	_, err = server.Verify(client)
	require.Error(t, err, "the gateway is no device")

	pair, err = ca.Device("web-7", -time.Minute)
	require.NoError(t, err)
	_, err = leaf(t, pair).Verify(client)
	require.ErrorContains(t, err, "expired")

	_, err = ca.Device("", time.Hour)
	require.Error(t, err)
}

func TestFilesAreNotOverwritten(t *testing.T) {
	t.Parallel()
	ca := made(t)
	pair, err := ca.Device("web-7", time.Hour)
	require.NoError(t, err)
	cert, key := files(t)
	require.NoError(t, pair.Write(cert, key))
	require.ErrorIs(t, pair.Write(cert, key), os.ErrExist)
	require.ErrorIs(t, pair.Write(cert, key+".2"), os.ErrExist)
	require.NoFileExists(t, key+".2")
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good, goodKey := files(t)
	ca, err := authority.LoadOrMake(good, goodKey)
	require.NoError(t, err)
	other, otherKey := files(t)
	_, err = authority.LoadOrMake(other, otherKey)
	require.NoError(t, err)
	device, deviceKey := files(t)
	pair, err := ca.Device("web-7", time.Hour)
	require.NoError(t, err)
	require.NoError(t, pair.Write(device, deviceKey))
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o600))
	for name, c := range map[string]struct{ cert, key, says string }{
		"no file":       {good + ".not", goodKey, good + ".not"},
		"no PEM":        {text, goodKey, "holds no PEM"},
		"no authority":  {device, deviceKey, "not the certificate of an authority"},
		"another's key": {good, otherKey, "is not that of the certificate"},
		"swapped":       {goodKey, good, goodKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := authority.Load(c.cert, c.key)
			require.ErrorContains(t, err, c.says)
			_, err = authority.LoadOrMake(c.cert, c.key)
			require.ErrorContains(t, err, c.says, "half an authority is not made whole")
		})
	}
}
