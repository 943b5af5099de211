package main

import (
	"slices"
	"strings"
)

// kind is a sort of resource that commands can be asked about.
type kind struct {
	// plural is the word that the inventory and its field selectors know.
	plural string
	// singular is what stands before a name, as in device/web-7.
	singular string
	// object is the kind of one in the API.
	object string
	// short are the other words that people type.
	short []string
}

var (
	deviceKind            = kind{plural: "devices", singular: "device", object: "Device", short: []string{"dev", "devs"}}
	fleetKind             = kind{plural: "fleets", singular: "fleet", object: "Fleet", short: []string{"flt"}}
	enrollmentRequestKind = kind{plural: "enrollmentrequests", singular: "enrollmentrequest", object: "EnrollmentRequest", short: []string{"er", "ers"}}
	eventKind             = kind{plural: "events", singular: "event", object: "Event", short: []string{"ev"}}

	kinds = []kind{deviceKind, fleetKind, enrollmentRequestKind, eventKind}
)

// words are all the words for the kind.
func (k kind) words() []string { return append([]string{k.plural, k.singular}, k.short...) }

// parseTarget reads what kubectl users type to say which things they mean: KIND, KIND NAME..., or KIND/NAME... A kind that
// is not in allowed, a missing one, and a mixture of both forms are usage errors. No names means all of the kind.
func parseTarget(args []string, allowed ...kind) (kind, []string, error) {
	if len(args) == 0 {
		return kind{}, nil, usagef("say what: one of %s", kindWords(allowed))
	}
	if !strings.Contains(args[0], "/") {
		k, err := parseKind(args[0], allowed)
		if err != nil {
			return kind{}, nil, err
		}
		return k, args[1:], checkNames(args[1:])
	}
	return parseSlashed(args, allowed)
}

// parseSlashed reads KIND/NAME KIND/NAME ..., all of one kind.
func parseSlashed(args []string, allowed []kind) (kind, []string, error) {
	var found kind
	names := make([]string, 0, len(args))
	for _, arg := range args {
		word, name, slashed := strings.Cut(arg, "/")
		if !slashed {
			return kind{}, nil, usagef("%q is not KIND/NAME like the argument before it", arg)
		}
		k, err := parseKind(word, allowed)
		if err != nil {
			return kind{}, nil, err
		}
		if found.plural != "" && found.plural != k.plural {
			return kind{}, nil, usagef("%q: only one kind can be asked for at a time", arg)
		}
		found, names = k, append(names, name)
	}
	return found, names, checkNames(names)
}

func parseKind(word string, allowed []kind) (kind, error) {
	for _, k := range allowed {
		if slices.Contains(k.words(), strings.ToLower(word)) {
			return k, nil
		}
	}
	return kind{}, usagef("unknown kind %q: use one of %s", word, kindWords(allowed))
}

func checkNames(names []string) error {
	if slices.Contains(names, "") {
		return usagef("a name is empty")
	}
	return nil
}

func kindWords(allowed []kind) string {
	words := make([]string, len(allowed))
	for i, k := range allowed {
		words[i] = k.plural
	}
	return strings.Join(words, ", ")
}

// parseDevice reads the argument of a verb that acts on exactly one device: device NAME, or device/NAME.
func parseDevice(args []string) (string, error) {
	_, names, err := parseTarget(args, deviceKind)
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		return "", usagef("name one device: device NAME, or device/NAME")
	}
	return names[0], nil
}
