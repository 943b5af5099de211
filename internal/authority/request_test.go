package authority_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
)

func ecdsaKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func csrBytes(t *testing.T, name string, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
		key)
	require.NoError(t, err)
	return der
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestARequestIsSigned(t *testing.T) {
	t.Parallel()
	ca, key := made(t), ecdsaKey(t)
	text := block("CERTIFICATE REQUEST", csrBytes(t, "web-7", key))
	r, err := authority.ReadRequest("\n" + text + "\n")
	require.NoError(t, err)
	require.Equal(t, "web-7", r.CommonName())
	signed, err := ca.SignRequest(r, "web-7", time.Hour)
	require.NoError(t, err)
	der, rest := pem.Decode(signed)
	require.Empty(t, rest)
	cert, err := x509.ParseCertificate(der.Bytes)
	require.NoError(t, err)
	require.Equal(t, "device:web-7", cert.Subject.CommonName)
	require.True(t, key.PublicKey.Equal(cert.PublicKey))
	require.WithinDuration(t, time.Now().Add(time.Hour), cert.NotAfter, time.Minute)
	_, err = cert.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	_, err = cert.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	require.Error(t, err)

	for _, name := range []string{"web-8", ""} {
		_, err = ca.SignRequest(r, name, time.Hour)
		require.ErrorContains(t, err, `of "web-7"`)
	}
	signed, err = ca.SignRequest(r, "web-7", 100*365*24*time.Hour)
	require.NoError(t, err)
	der, _ = pem.Decode(signed)
	cert, err = x509.ParseCertificate(der.Bytes)
	require.NoError(t, err)
	require.Equal(t, ca.Certificate().NotAfter, cert.NotAfter, "not longer than the authority")
}

func TestReadRequestSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := csrBytes(t, "web-7", ecdsaKey(t))
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	broken := append([]byte{}, good...)
	broken[len(broken)-1] ^= 1
	const kind = "CERTIFICATE REQUEST"
	for text, says := range map[string]string{
		"":                                      "PEM",
		"hello":                                 "PEM",
		"hello" + "\n" + block(kind, good):      "PEM",
		block(kind, good) + block(kind, good):   "more behind",
		block(kind, good) + "hello":             "more behind",
		block("CERTIFICATE", good):              `a "CERTIFICATE"`,
		block(kind, good[:20]):                  "asn1",
		block(kind, broken):                     "signature",
		block(kind, csrBytes(t, "web-7", weak)): "not an ECDSA key",
	} {
		_, err := authority.ReadRequest(text)
		require.ErrorContains(t, err, says, text)
	}
}

// tpmRequest is the beginning of a TPM's request as an agent sends it.
func tpmRequest() string {
	return base64.StdEncoding.EncodeToString(append([]byte{1, 0, 1, 0, 0, 0, 0, 64, 0, 0, 0, 70}, make([]byte, 134)...))
}

func TestInspect(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	plain := func(name string, key crypto.Signer) string {
		return block("CERTIFICATE REQUEST", csrBytes(t, name, key))
	}
	binary, err := base64.StdEncoding.DecodeString(tpmRequest())
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		text        string
		device      string
		tpm         bool
		wrong, here string
	}{
		"plain":            {plain("web-7", ecdsaKey(t)), "web-7", false, "", ""},
		"with the prefix":  {plain("device:web-7", ecdsaKey(t)), "web-7", false, "", ""},
		"RSA":              {plain("web-7", weak), "web-7", false, "", "not an ECDSA key"},
		"text before":      {"a\n" + plain("web-7", ecdsaKey(t)), "web-7", false, "", "not a block of PEM"},
		"TPM":              {tpmRequest(), "", true, "Flight Control's own server", ""},
		"TPM, binary":      {string(binary), "", true, "Flight Control's own server", ""},
		"too short for it": {string(binary[:11]), "", false, "not a block of PEM", ""},
		"none":             {"", "", false, "not a block of PEM", ""},
		"other base64":     {"c29tZSB0d2VsdmUgYnl0ZXM=", "", false, "not a block of PEM", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := authority.Inspect(tc.text)
			require.Equal(t, tc.device, got.Device)
			require.Equal(t, tc.tpm, got.TPM)
			for says, err := range map[string]error{tc.wrong: got.Wrong, tc.here: got.WrongHere} {
				if says == "" {
					continue
				}
				require.ErrorContains(t, err, says)
			}
			_, err := authority.ReadRequest(tc.text)
			require.Equal(t, got.Wrong == nil && got.WrongHere == nil, err == nil, "both say the same")
		})
	}
}

func TestKeyOf(t *testing.T) {
	t.Parallel()
	key := ecdsaKey(t)
	name, err := authority.DeviceName(key.Public())
	require.NoError(t, err)
	of := func(commonName string, key crypto.Signer) (string, string) {
		fingerprint, name, ok := authority.KeyOf(block("CERTIFICATE REQUEST", csrBytes(t, commonName, key)))
		require.True(t, ok)
		return fingerprint, name
	}
	first, hash := of("a", key)
	again, _ := of("b", key)
	other, _ := of("a", ecdsaKey(t))
	require.Equal(t, name, hash)
	require.Equal(t, first, again, "another request, the same key")
	require.NotEqual(t, first, other)
	require.Len(t, first, 64)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	weak, hash := of("a", rsaKey)
	require.Len(t, weak, 64)
	require.Empty(t, hash)
	for _, text := range []string{"", "x", block("CERTIFICATE REQUEST", []byte("x")), strings.Repeat("-", 99)} {
		_, _, ok := authority.KeyOf(text)
		require.False(t, ok)
	}
}

func TestIsEnrollment(t *testing.T) {
	t.Parallel()
	for cn, want := range map[string]bool{
		"client-enrollment": true, "client-enrollment-site-1": true, "client-enrollment-": false, "client-enrollmentx": false,
		"Client-Enrollment": false, "device:client-enrollment": false, "": false, "client-enrollment\x20": false,
	} {
		require.Equal(t, want, authority.IsEnrollment(cn), cn)
	}
}
