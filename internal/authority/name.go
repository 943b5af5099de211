package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"
)

// EnrollmentCN is the common name of a bootstrap certificate, or what it begins with where "-" and a suffix follow.
// Agents that have no certificate of their own yet share it (flightctl-schema.md, Certificates).
const EnrollmentCN = "client-enrollment"

// DeviceName is the name of the device whose agent has this ECDSA key: the SHA-256 of the point's X and Y bytes in
// base32hex, lower case and without padding. Any other kind of key is an error.
func DeviceName(public crypto.PublicKey) (string, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return "", errors.New("name a device by its key: the key is not an ECDSA key")
	}
	point, err := key.Bytes()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(point[1:]) // the first byte says that the point is not compressed
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])), nil
}

// Enrollment is EnrollmentOf for the default organisation.
func (a *CA) Enrollment(suffix string, lifetime time.Duration) (Pair, error) {
	return a.EnrollmentOf("", suffix, lifetime)
}
