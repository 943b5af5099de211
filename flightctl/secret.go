package flightctl

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// Secret is a token or a password, or the file that holds it. It is never printed: whatever formats it gets a
// placeholder.
type Secret struct {
	value string
	file  string
	parse func([]byte) (string, error)
}

const hidden = "[hidden]"

// SecretValue is a secret that does not change.
func SecretValue(value string) Secret { return Secret{value: value} }

// SecretFile is the secret in a file, without the white space around it. It is read each time that it is used, so that
// a file which changes needs no restart.
func SecretFile(path string) Secret { return Secret{file: path, parse: trimmed} }

func trimmed(content []byte) (string, error) { return strings.TrimSpace(string(content)), nil }

// IsSet reports whether there is a secret, or a file for one.
func (s Secret) IsSet() bool { return s.value != "" || s.file != "" }

// Read returns the secret as it is now.
func (s Secret) Read() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	content, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret, err := s.parse(content)
	if err != nil {
		return "", fmt.Errorf("read secret in %s: %w", s.file, err)
	}
	if secret == "" {
		return "", fmt.Errorf("read secret in %s: the file holds none", s.file)
	}
	return secret, nil
}

// String hides the secret from fmt.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
