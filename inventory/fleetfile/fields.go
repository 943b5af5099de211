package fleetfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

func unknownField(name, parent string) error {
	return fmt.Errorf("%s%s: there is no such field", parent, name)
}

func decodeString(value []byte) (string, error) {
	if t := jsonType(value); t != "a string" {
		return "", fmt.Errorf("must be a string, not %s", t)
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", err
	}
	return s, nil
}

// decodeCount reads a number that counts up, such as generation.
func decodeCount(value []byte) (int64, error) {
	if t := jsonType(value); t != "a number" {
		return 0, fmt.Errorf("must be a number, not %s", t)
	}
	return parseCount(string(value))
}

func parseCount(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a whole number from 0 to 9223372036854775807", text)
	}
	return n, nil
}

func decodeTime(value []byte) (*time.Time, error) {
	text, err := decodeString(value)
	if err != nil {
		return nil, err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time such as 2026-08-01T10:00:00Z", text)
	}
	return &t, nil
}

// decodeName reads the name of a resource, which is a DNS subdomain as in Kubernetes.
func decodeName(value []byte) (string, error) {
	name, err := decodeString(value)
	if err != nil {
		return "", err
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return "", fmt.Errorf("%q is not a name: %s", name, strings.Join(problems, "; "))
	}
	return name, nil
}

// decodeOwner reads an owner such as "Fleet/web".
func decodeOwner(value []byte) (*string, error) {
	owner, err := decodeString(value)
	if err != nil {
		return nil, err
	}
	kind, name, found := strings.Cut(owner, "/")
	if !found || kind == "" || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return nil, fmt.Errorf("%q is not of the form KIND/NAME, as in \"Fleet/web\"", owner)
	}
	return &owner, nil
}

// decodeMap reads an object of strings whose names are those of labels and annotations; path is for errors, and check
// tells what is wrong with a value.
func decodeMap(value []byte, path string, check func(string) []string) (map[string]string, error) {
	fields, err := members(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m := make(map[string]string, len(fields))
	for _, f := range fields {
		at := path + memberPath(f.name)
		text, err := decodeString(f.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		problems := append(validation.IsQualifiedName(strings.ToLower(f.name)), check(text)...)
		if len(problems) > 0 {
			return nil, fmt.Errorf("%s: %w", at, errors.New(strings.Join(problems, "; ")))
		}
		m[f.name] = text
	}
	return m, nil
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// memberPath writes a field's name as the end of a path: .site, or ["example.com/site"].
func memberPath(name string) string {
	if plainName.MatchString(name) {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}
