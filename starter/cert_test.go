package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/inventory/credentials"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

// certIn runs `starter cert` in a folder beside an authority.
func certIn(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := testIO(&stdout, &stderr, map[string]string{
		devstack.EnvCACert: filepath.Join(dir, "ca.crt"), devstack.EnvCAKey: filepath.Join(dir, "ca.key"),
		devstack.EnvGatewayURL: "https://127.0.0.1:7443",
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
	require.Equal(t, printer.ExitOK, o.code, o.stderr)
	require.Contains(t, o.stdout, "https://127.0.0.1:7443/api/v1/devices/web-7/rendered?knownRenderedVersion=7")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "web-7.crt"), filepath.Join(dir, "web-7.key"))
	require.NoError(t, err)
	require.Equal(t, "device:web-7", pair.Leaf.Subject.CommonName)
	require.NoError(t, pair.Leaf.CheckSignatureFrom(ca.Certificate()))

	o = certIn(t, dir, "device/web-7")
	require.Equal(t, printer.ExitFailed, o.code)
	require.Contains(t, o.stderr, "exists")
}

func TestCertComplainsClearly(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"device a/b":              "is no device's name",
		"device ..":               "is no device's name",
		"device Web_7":            "is no device's name",
		"device web-7\\x":         "is no device's name",
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
		require.Equal(t, printer.ExitUsage, o.code, "%s: %s", line, o.stderr)
		require.Contains(t, o.stderr, says)
	}
	o := runBare(t, "cert", "device", "web-7")
	require.Equal(t, printer.ExitFailed, o.code)
	require.Contains(t, o.stderr, "starter dev")
	require.Equal(t, printer.ExitFailed, certIn(t, t.TempDir(), "device", "web-7").code,
		"the authority's files are not there")
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
		require.Equal(t, printer.ExitOK, o.code, o.stderr)
		require.Contains(t, o.stdout, "https://127.0.0.1:7443/api/v1/enrollmentrequests")
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
		require.NoError(t, err)
		require.Equal(t, name, pair.Leaf.Subject.CommonName)
		require.True(t, authority.IsEnrollment(pair.Leaf.Subject.CommonName))
		require.NoError(t, pair.Leaf.CheckSignatureFrom(ca.Certificate()))
		require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, pair.Leaf.ExtKeyUsage)
	}
	require.Equal(t, printer.ExitFailed, certIn(t, dir, "enrollment").code, "it exists")
}

func TestCertRevoke(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.Equal(t, "serial 3f2a09c1: revoked\n",
		b.ok("cert", "revoke", "--serial", "00:3F:2A:09:C1", "--as", "alice", "--reason", "stolen"))
	require.Equal(t, "serial 3f2a09c1: revoked already\n", b.ok("cert", "revoke", "--serial", "3f2a09c1"))
	key := strings.Repeat("ab", 32)
	require.Equal(t, "key "+key+": revoked\n", b.ok("cert", "revoke", "--key", "SHA256:"+strings.ToUpper(key)))
	listed := b.ok("cert", "revoke", "--list")
	require.Contains(t, listed, `serial 3f2a09c1: revoked by "alice"`)
	require.Contains(t, listed, `"stolen"`)
	require.Equal(t, "key "+key+": no longer revoked\n", b.ok("cert", "revoke", "--key", key, "--undo"))
	var left []credentials.Revocation
	b.run("cert", "revoke", "--list", "-o", "json").json(t, &left)
	require.Len(t, left, 1)
	require.Equal(t, credentials.Serial, left[0].Kind)
	for line, says := range map[string]string{
		"":                    "serial",
		"--serial x":          "openssl x509",
		"--serial 0":          "openssl x509",
		"--key ab":            "64 hex digits",
		"--serial 1 --key ab": "none of the others can be",
		"--list --undo":       "none of the others can be",
	} {
		o := b.run(append([]string{"cert", "revoke"}, strings.Fields(line)...)...)
		require.Equal(t, printer.ExitUsage, o.code, "%s: %s", line, o.stderr)
		require.Contains(t, o.stderr, says)
	}
}
