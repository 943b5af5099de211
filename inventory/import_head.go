package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// importHead is what says which resource a document is.
type importHead struct {
	apiVersion, kind, name string
}

// readHead cuts a document into its fields and reads which resource it is. The head says as much as could be read, even
// with an error.
func readHead(value []byte) (importHead, []member, error) {
	var head importHead
	fields, err := members(value)
	if err != nil {
		return head, nil, err
	}
	for _, f := range fields {
		switch f.name {
		case "apiVersion":
			head.apiVersion, err = decodeString(f.value)
		case "kind":
			head.kind, err = decodeString(f.value)
		case "metadata":
			head.name = peekName(f.value)
		}
		if err != nil {
			return head, nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return head, fields, nil
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
func (h importHead) where(document string) string {
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
func (h importHead) inList(list importHead) (importHead, error) {
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

// check tells whether the resource is one that can be imported.
func (h importHead) check() error {
	if !slices.Contains(importKinds, h.kind) {
		return h.unknownKind()
	}
	return h.checkVersion()
}

func (h importHead) unknownKind() error {
	if h.kind == "" {
		return errors.New("kind: is missing")
	}
	return fmt.Errorf("kind: %q cannot be imported; Device, Fleet and EnrollmentRequest can, and lists of them", h.kind)
}

// checkVersion takes every version of Flight Control's API: what the roll call needs is alike in all. Kubernetes' own
// list of anything is of "v1".
func (h importHead) checkVersion() error {
	group, version, found := strings.Cut(h.apiVersion, "/")
	switch {
	case h.apiVersion == "":
		return errors.New("apiVersion: is missing")
	case h.kind == "List" && h.apiVersion == "v1":
		return nil
	case !found || version == "" || group != "flightctl.io":
		return fmt.Errorf("apiVersion: %q is not of Flight Control, whose present one is %s", h.apiVersion, APIVersion)
	}
	return nil
}
