package fleetfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rollcall/runbook"
)

// documentHead is what says which resource a document is.
type documentHead struct {
	apiVersion, kind, name string
}

// readHead cuts a document into its fields and reads which resource it is. The head says as much as could be read, even
// with an error.
func readHead(value []byte) (documentHead, []member, error) {
	var head documentHead
	fields, err := members(value)
	if err != nil {
		return head, nil, err
	}
	head, err = headOf(fields)
	return head, fields, err
}

// headOf reads from a document's fields which resource it is.
func headOf(fields []member) (head documentHead, err error) {
	for _, f := range fields {
		switch f.name {
		case "apiVersion":
			if jsonType(f.value) != "null" { // which is as if it was left out
				head.apiVersion, err = decodeString(f.value)
			}
		case "kind":
			head.kind, err = decodeString(f.value)
		case "metadata":
			head.name = peekName(f.value)
		}
		if err != nil {
			return head, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return head, nil
}

// peekName finds the name for error messages; whether it is one is for decodeMetadata to say.
func peekName(metadata []byte) string {
	fields, _ := members(metadata)
	i := slices.IndexFunc(fields, func(f member) bool { return f.name == "name" })
	if i < 0 {
		return ""
	}
	name, _ := decodeString(fields[i].value)
	return name
}

// where adds to "document 3" what is known of the resource in it.
func (h documentHead) where(document string) string {
	switch {
	case h.kind == "":
		return document
	case h.name == "":
		return fmt.Sprintf("%s (%s)", document, h.kind)
	default:
		return fmt.Sprintf("%s (%s %q)", document, h.kind, h.name)
	}
}

// inList fills what the items of a list may leave to the list, and checks that an item belongs there.
func (h documentHead) inList(list documentHead) (documentHead, error) {
	if list.kind == "List" {
		return h, nil
	}
	of := strings.TrimSuffix(list.kind, "List")
	if h.kind == "" {
		h.kind = of
	}
	if h.apiVersion == "" {
		h.apiVersion = list.apiVersion
	}
	if h.kind != of {
		return h, fmt.Errorf("kind: a %s holds no %q", list.kind, h.kind)
	}
	return h, nil
}

// check reports whether the resource is one that can be imported.
func (h documentHead) check() error {
	if !slices.Contains(Kinds, h.kind) {
		return h.unknownKind()
	}
	return h.checkVersion()
}

func (h documentHead) unknownKind() error {
	if h.kind == "" {
		return errors.New("kind: is missing")
	}
	return fmt.Errorf("kind: %q cannot be imported; Device, Fleet and EnrollmentRequest can, and lists of them", h.kind)
}

// checkVersion takes every spelling of Flight Control's API. Kubernetes' own list of anything is of "v1".
func (h documentHead) checkVersion() error {
	if runbook.IsAPIVersion(h.apiVersion) || h.kind == "List" && h.apiVersion == "v1" {
		return nil
	}
	return fmt.Errorf("apiVersion: %q is not of Flight Control, whose present one is %s", h.apiVersion, APIVersion)
}
