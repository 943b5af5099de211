package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/starter/printer"
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
	enrollmentRequestKind = kind{
		plural: "enrollmentrequests", singular: "enrollmentrequest", object: "EnrollmentRequest",
		short: []string{"er", "ers"},
	}
	eventKind = kind{plural: "events", singular: "event", object: "Event", short: []string{"ev"}}

	kinds = []kind{deviceKind, fleetKind, enrollmentRequestKind, eventKind}

	// restoreKind and transitionKind are ours and not Flight Control's; only get knows them.
	restoreKind    = kind{plural: "restores", singular: "restore", object: "Restore"}
	transitionKind = kind{plural: "transitions", singular: "transition", object: "Transition", short: []string{"audit"}}
)

// words are all the words for the kind.
func (k kind) words() []string { return append([]string{k.plural, k.singular}, k.short...) }

// parseTarget reads what kubectl users type to say which things they mean: KIND, KIND NAME..., or KIND/NAME... A kind
// that is not in allowed, a missing one, and a mixture of both forms are usage errors. No names means all of the kind.
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

// completeTargets completes KIND and then names of that kind, for shells. Whatever goes wrong completes nothing.
func (g *globals) completeTargets(allowed ...kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			words := make([]string, len(allowed))
			for i, k := range allowed {
				words[i] = k.singular
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		k, _, err := parseTarget(args[:1], allowed...)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := g.names(cmd.Context(), k)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// names reads names of a kind, quickly or not at all.
func (g *globals) names(ctx context.Context, k kind) ([]string, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	store, orgID, err := g.openOrg(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	found, err := k.read(ctx, store, inventory.Query{OrgID: orgID, Limit: 1000})
	if err != nil {
		return nil, err
	}
	return found.names(), nil
}

// resources are what was read of one kind: of devices, fleets and enrollment requests, or of events.
type resources struct {
	object string
	items  []inventory.Resource
	events []inventory.Event
	// next is where the next part of the list begins; empty where there is none.
	next string
}

// read reads resources of the kind.
func (k kind) read(ctx context.Context, store *inventory.Store, q inventory.Query) (resources, error) {
	r := resources{object: k.object}
	var err error
	switch k.object {
	case inventory.KindEvent:
		r.events, err = store.Events(ctx, q)
	case inventory.KindFleet:
		r.items, err = store.Fleets(ctx, q)
	case inventory.KindEnrollmentRequest:
		r.items, err = store.EnrollmentRequests(ctx, q)
	default:
		r.items, err = store.Devices(ctx, q)
	}
	return r, err
}

func (r resources) len() int { return len(r.items) + len(r.events) }

func (r resources) names() []string {
	names := make([]string, 0, r.len())
	for _, item := range r.items {
		names = append(names, item.Metadata.Name)
	}
	for _, event := range r.events {
		names = append(names, event.Metadata.Name)
	}
	return names
}

// list is the list kind, in the API's form.
func (r resources) list() any {
	if r.object == inventory.KindEvent {
		list := inventory.List(r.object, r.events)
		list.Metadata.Continue = r.next
		return list
	}
	list := inventory.List(r.object, r.items)
	list.Metadata.Continue = r.next
	return list
}

// first is the first resource by itself, in the API's form. There must be one.
func (r resources) first() any {
	if r.object == inventory.KindEvent {
		return r.events[0]
	}
	return r.items[0]
}

// objects are the resources as a script sees them.
func (r resources) objects() ([]any, error) {
	if r.object == inventory.KindEvent {
		return printer.Objects(r.events)
	}
	return printer.Objects(r.items)
}

// sort sorts the resources by a field, and keeps the first limit of them; 0 is all.
func (r *resources) sort(by printer.Path, limit int) error {
	if err := errors.Join(printer.SortBy(r.items, by), printer.SortBy(r.events, by)); err != nil {
		return err
	}
	if limit > 0 {
		r.items, r.events = r.items[:min(limit, len(r.items))], r.events[:min(limit, len(r.events))]
	}
	return nil
}

// ours reports whether the kind is Rollcall's and not Flight Control's.
func (k kind) ours() bool { return k.object == restoreKind.object || k.object == transitionKind.object }
