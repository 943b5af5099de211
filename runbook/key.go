package runbook

import "regexp"

// Key is the public key for which an enrollment request asks a certificate.
type Key struct {
	// Fingerprint is the SHA-256 of the key (its SubjectPublicKeyInfo) in hex; empty where the request holds none that can
	// be read.
	Fingerprint string
	// Name is the device name that is this key's hash; empty for a kind of key that names no device.
	Name string
}

// KeyStanding is how the key of an enrollment request compares with what is known of its name. The strings are shown to
// people and scripts.
type KeyStanding string

// The standings of a key.
const (
	KeySame      KeyStanding = "same"      // the key that was known under this name before
	KeyNew       KeyStanding = "new"       // no key was known under this name before
	KeyDifferent KeyStanding = "different" // another key than the one known, or than the one that the name is the hash of
	KeyUnknown   KeyStanding = "unknown"   // the request holds no key that can be read, and none was known
)

// keyHash is the form of a name that is the hash of a key: 256 bits in base32hex, so that of the last letter one bit counts.
var keyHash = regexp.MustCompile(`^[0-9a-v]{51}[0g]$`)

// CompareKey tells how the key of an enrollment request of that name stands; known is the fingerprint that is known under
// the name, empty where there is none. A name that is the hash of another key makes a key different whatever was known:
// the name itself says which key is meant.
func CompareKey(name string, key Key, known string) KeyStanding {
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

// InBulk tells whether a request whose key stands so may be approved together with others. A different key is for a
// human to decide about by name: it may be a device whose storage was replaced, or somebody who poses as the device.
func (s KeyStanding) InBulk() bool { return s != KeyDifferent }

// KeyWarning is what a human should know before they approve a request whose key stands so; empty where there is nothing.
func KeyWarning(s KeyStanding) string {
	if s.InBulk() {
		return ""
	}
	return "its key is not the one known under this name: whoever holds the new key becomes this device; approve it only if you know why its key has changed"
}

// ExpectedKey tells whether a request still holds the key that a human was shown, by fingerprint; an empty expectation is
// none. Otherwise a *Refusal with CodeKeyChanged.
func ExpectedKey(name, expected, fingerprint string) error {
	if expected != "" && expected != fingerprint {
		return Refuse(CodeKeyChanged, "enrollment request %s has been posted with another key since you looked; nothing was changed: look again, then approve it by name", name)
	}
	return nil
}
