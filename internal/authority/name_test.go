package authority_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
)

// The name was worked out with openssl and coreutils from the base point of P-256, whose private key is 1.
func TestDeviceName(t *testing.T) {
	t.Parallel()
	point, err := hex.DecodeString("046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
		"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
	require.NoError(t, err)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	require.NoError(t, err)
	name, err := authority.DeviceName(key)
	require.NoError(t, err)
	require.Equal(t, "r1qtmvff4ch3dbm7733b1epug0a2un8fr3qdu97uqrnfbitl1mfg", name)
	_, err = authority.DeviceName(&rsa.PublicKey{N: big.NewInt(15), E: 3})
	require.ErrorContains(t, err, "not an ECDSA key")
}
