package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/authority"
)

// certIn runs `starter cert` in a folder beside an authority.
func certIn(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := testIO(&stdout, &stderr, map[string]string{
		envCACert: filepath.Join(dir, "ca.crt"), envCAKey: filepath.Join(dir, "ca.key"), envGatewayURL: "https://127.0.0.1:7443",
	})
	streams.Dir = dir
	code := Execute(t.Context(), streams, append([]string{"cert"}, args...))
	return outcome{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

func TestCertMakesAClientCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	o := certIn(t, dir, "device", "web-7")
	require.Equal(t, exitOK, o.code, o.stderr)
	require.Contains(t, o.stdout, "https://127.0.0.1:7443/api/v1/devices/web-7/rendered?knownRenderedVersion=7")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "web-7.crt"), filepath.Join(dir, "web-7.key"))
	require.NoError(t, err)
	require.Equal(t, "device:web-7", pair.Leaf.Subject.CommonName)
	require.NoError(t, pair.Leaf.CheckSignatureFrom(ca.Certificate()))

	o = certIn(t, dir, "device/web-7")
	require.Equal(t, exitFailed, o.code)
	require.Contains(t, o.stderr, "exists")
}

func TestCertComplainsClearly(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"device a/b":              "cannot be the name of a file",
		"device ..":               "cannot be the name of a file",
		"device a b":              "name one device",
		"device a --days 0":       "--days 0",
		"fleet web":               "unknown kind",
		"device a --frobnicate":   "unknown flag",
		"device a --suffix x":     "starter cert enrollment",
		"enrollment x":            "unknown kind",
		"enrollment --suffix a/b": "--suffix",
		"enrollment --suffix A":   "--suffix",
		"enrollment --days 0":     "--days 0",
	} {
		o := certIn(t, t.TempDir(), strings.Fields(line)...)
		require.Equal(t, exitUsage, o.code, "%s: %s", line, o.stderr)
		require.Contains(t, o.stderr, says)
	}
	o := runBare(t, "cert", "device", "web-7")
	require.Equal(t, exitFailed, o.code)
	require.Contains(t, o.stderr, "starter dev")
	require.Equal(t, exitFailed, certIn(t, t.TempDir(), "device", "web-7").code, "the authority's files are not there")
}

func TestCertMakesABootstrapCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	for name, args := range map[string][]string{
		"client-enrollment":        {"enrollment"},
		"client-enrollment-berlin": {"enrollment", "--suffix", "berlin"},
	} {
		o := certIn(t, dir, args...)
		require.Equal(t, exitOK, o.code, o.stderr)
		require.Contains(t, o.stdout, "https://127.0.0.1:7443/api/v1/enrollmentrequests")
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
		require.NoError(t, err)
		require.Equal(t, name, pair.Leaf.Subject.CommonName)
		require.True(t, authority.IsEnrollment(pair.Leaf.Subject.CommonName))
		require.NoError(t, pair.Leaf.CheckSignatureFrom(ca.Certificate()))
		require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, pair.Leaf.ExtKeyUsage)
	}
	require.Equal(t, exitFailed, certIn(t, dir, "enrollment").code, "it exists")
}
