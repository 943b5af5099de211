package runbook

import (
	"math/big"
	"regexp"
	"strings"
	"time"
)

// Key is the public key in an enrollment request.
type Key struct {
	// Fingerprint is the SHA-256 of the key (its SubjectPublicKeyInfo) in hex. It is empty where the key cannot be read.
	Fingerprint string
	// Name is the device name that is this key's hash. It is empty for a kind of key that names no device.
	Name string
}

// KeyMatch says how the key of an enrollment request compares with the key that is known under its name. The strings
// are shown to people and scripts.
type KeyMatch string

// The results of CompareKey.
const (
	KeySame      KeyMatch = "same"      // the key that was known under this name before
	KeyNew       KeyMatch = "new"       // no key was known under this name before
	KeyDifferent KeyMatch = "different" // another key than the one known, or than the one that the name is the hash of
	KeyUnknown   KeyMatch = "unknown"   // the request holds no key that can be read, and none was known
)

// keyHash matches a name that is the hash of a key: 256 bits in base32hex. The last letter holds one bit.
var keyHash = regexp.MustCompile(`^[0-9a-v]{51}[0g]$`)

// CompareKey compares the key of an enrollment request with the known one. known is the fingerprint that is known
// under the name; it is empty where none is known. A name that is the hash of another key makes the key different in
// any case, because the name itself says which key is meant.
func CompareKey(name string, key Key, known string) KeyMatch {
	switch {
	case known != "" && known != key.Fingerprint:
		return KeyDifferent
	case key.Fingerprint == "":
		return KeyUnknown
	case keyHash.MatchString(name) && key.Name != name:
		return KeyDifferent
	case known == "":
		return KeyNew
	}
	return KeySame
}

// InBulk reports whether a request with this result may be approved together with others. A human decides about a
// different key by name: the device's storage may have been replaced, or someone may pose as the device.
func (m KeyMatch) InBulk() bool { return m != KeyDifferent }

// KeyWarning returns what a human should know before they approve a request with this result. It is empty where there
// is nothing to warn of.
func KeyWarning(m KeyMatch) string {
	if m.InBulk() {
		return ""
	}
	return "its key is not the one known under this name: whoever holds the new key becomes this device; approve it " +
		"only if you know why its key has changed"
}

// ExpectedKey checks that a request still holds the key that a human was shown. Both are fingerprints; any key meets
// an empty expectation. The error is a *Refusal with CodeKeyChanged.
func ExpectedKey(name, expected, fingerprint string) error {
	if expected != "" && expected != fingerprint {
		return Refuse(CodeKeyChanged,
			"enrollment request %s has been posted with another key since you looked; nothing was changed: look again, then "+
				"approve it by name", name)
	}
	return nil
}

// Certificate is what counts of a client certificate beside whose it is. Its zero value stands for none.
type Certificate struct {
	// Serial is the serial number, as ParseSerial returns it.
	Serial string
	// Key is the fingerprint of its key, as in Key.
	Key string
	// Issued is when it begins to be valid.
	Issued time.Time
}

// KnownKey is the key that was approved for a device. Its zero value stands for none.
type KnownKey struct {
	// Fingerprint is as in Key, and Since is when the key was approved.
	Fingerprint string
	Since       time.Time
}

// Replaces reports whether a certificate is of a key that this one has replaced. A certificate of another key counts
// that was signed after the approval: a restored database knows the key of the backup, and the device may have been
// given a newer one since.
func (k KnownKey) Replaces(c Certificate) bool {
	return k.Fingerprint != "" && c.Key != "" && c.Key != k.Fingerprint && c.Issued.Before(k.Since)
}

// longestSerial is how many bytes a serial number may have (RFC 5280).
const longestSerial = 20

// ParseSerial reads a certificate's serial number in hex, as openssl and others print it, and returns it in small
// letters without zeros at its start. What is none is a *Refusal with CodeInvalidRequest.
func ParseSerial(text string) (string, error) {
	digits := bareHex(text, "serial=", "0x")
	n, ok := new(big.Int).SetString(digits, 16)
	if !ok || n.Sign() <= 0 || len(n.Bytes()) > longestSerial || !hexDigits.MatchString(digits) {
		return "", Refuse(CodeInvalidRequest, "%s is no serial number: give the hex digits that "+
			"`openssl x509 -noout -serial -in FILE` prints", quoteShort(text))
	}
	return n.Text(16), nil
}

// ParseFingerprint reads the fingerprint of a key: the SHA-256 of its SubjectPublicKeyInfo in hex. What is none is a
// *Refusal with CodeInvalidRequest.
func ParseFingerprint(text string) (string, error) {
	digits := bareHex(text, "sha256:", "sha-256")
	if len(digits) != 64 || !hexDigits.MatchString(digits) {
		return "", Refuse(CodeInvalidRequest, "%s is no fingerprint of a key: give 64 hex digits, the SHA-256 of the "+
			"public key (SubjectPublicKeyInfo)", quoteShort(text))
	}
	return digits, nil
}

var hexDigits = regexp.MustCompile(`^[0-9a-f]+$`)

// bareHex leaves out what is often written around hex digits.
func bareHex(text string, prefixes ...string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	for _, prefix := range prefixes {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.ReplaceAll(strings.TrimSpace(text), ":", "")
}
