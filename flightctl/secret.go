package flightctl

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Secret is a token or a password, or the file that holds it. It is never printed: whatever formats it gets a
// placeholder.
type Secret struct {
	value string
	file  string
	parse func([]byte) (kept, error)
	// variable is the environment variable that it comes from, where that is known.
	variable string
}

// kept is what is kept in a secret's file. The end is that of a token, where the file says it.
type kept struct {
	secret string
	end    time.Time
}

const hidden = "[hidden]"

// SecretValue is a secret that does not change.
func SecretValue(value string) Secret { return Secret{value: value} }

// SecretFile is the secret in a file, without the white space around it. It is read each time that it is used, so that
// a file which changes needs no restart.
func SecretFile(path string) Secret { return Secret{file: path, parse: trimmed} }

func trimmed(content []byte) (kept, error) {
	return kept{secret: strings.TrimSpace(string(content))}, nil
}

// IsSet reports whether there is a secret, or a file for one.
func (s Secret) IsSet() bool { return s.value != "" || s.file != "" }

// Read returns the secret as it is now.
func (s Secret) Read() (string, error) {
	now, err := s.read()
	return now.secret, err
}

func (s Secret) read() (kept, error) {
	if s.file == "" {
		return kept{secret: s.value}, nil
	}
	content, err := os.ReadFile(s.file)
	if err != nil {
		return kept{}, fmt.Errorf("read secret: %w", err)
	}
	now, err := s.parse(content)
	if err != nil {
		return kept{}, fmt.Errorf("read secret in %s: %w", s.file, err)
	}
	if now.secret == "" {
		return kept{}, fmt.Errorf("read secret in %s: the file holds none", s.file)
	}
	return now, nil
}

// from says where the secret comes from; empty where that is not known.
func (s Secret) from() string {
	switch {
	case s.file != "" && s.variable != "":
		return s.file + " (" + s.variable + ")"
	case s.file != "":
		return s.file
	}
	return s.variable
}

// String hides the secret from fmt.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
