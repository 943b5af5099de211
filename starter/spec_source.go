package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"rollcall/inventory"
)

// specSource says what a device's spec comes from, and whether its labels still fit that.
type specSource struct {
	// Fleet is the name of the fleet whose template is the source; empty where the device's own spec is.
	Fleet string `json:"fleet,omitempty"`
	// Missing tells that the fleet does not exist.
	Missing bool `json:"missing,omitempty"`
	// Selector is the fleet's label selector, and LabelsMatch whether the device's labels match it; neither says anything
	// without a fleet.
	Selector    string `json:"selector,omitempty"`
	LabelsMatch bool   `json:"labelsMatch"`
	// Claimants are the other fleets whose selector matches the device's labels, and which may claim it therefore.
	Claimants []string `json:"claimants,omitempty"`
}

// findSpec finds what a device is rendered from: its fleet's template where a fleet owns it, else its own spec.
func findSpec(ctx context.Context, store *inventory.Store, device inventory.Resource) (specSource, json.RawMessage, error) {
	fleets, err := store.Fleets(ctx, inventory.Query{OrgID: device.OrgID})
	if err != nil {
		return specSource{}, nil, fmt.Errorf("read the fleets: %w", err)
	}
	name, owned := strings.CutPrefix(device.Metadata.Owner, inventory.KindFleet+"/")
	source, spec := specSource{Fleet: name, Missing: owned}, device.Spec
	for _, fleet := range fleets {
		f := readFleetSpec(fleet.Spec)
		selector := f.selector()
		matches := selector.Matches(labels.Set(device.Metadata.Labels))
		switch {
		case owned && fleet.Metadata.Name == name:
			source.Missing, source.Selector, source.LabelsMatch = false, selector.String(), matches
			spec = f.Template.Spec
		case matches:
			source.Claimants = append(source.Claimants, fleet.Metadata.Name)
		}
	}
	return source, spec, nil
}

// fleetSpec is what commands read of a fleet's spec.
type fleetSpec struct {
	Selector struct {
		MatchLabels      map[string]string `json:"matchLabels"`
		MatchExpressions []struct {
			Key      string   `json:"key"`
			Operator string   `json:"operator"`
			Values   []string `json:"values"`
		} `json:"matchExpressions"`
	} `json:"selector"`
	Template struct {
		Spec json.RawMessage `json:"spec"`
	} `json:"template"`
}

// readFleetSpec reads what it can of a fleet's spec, as readDeviceStatus does of a status.
func readFleetSpec(spec json.RawMessage) fleetSpec {
	var s fleetSpec
	if len(spec) > 0 {
		_ = json.Unmarshal(spec, &s)
	}
	return s
}

// selector selects the fleet's devices. Flight Control lets a fleet without one select nothing, and so does this; one that
// cannot be read selects nothing either.
func (s fleetSpec) selector() labels.Selector {
	selector := labels.SelectorFromSet(s.Selector.MatchLabels)
	for _, e := range s.Selector.MatchExpressions {
		requirement, err := labels.NewRequirement(e.Key, expressionOperators[e.Operator], e.Values)
		if err != nil {
			return labels.Nothing()
		}
		selector = selector.Add(*requirement)
	}
	if selector.Empty() {
		return labels.Nothing()
	}
	return selector
}

// expressionOperators are the operators of a match expression by their words in the API.
var expressionOperators = map[string]selection.Operator{
	"In": selection.In, "NotIn": selection.NotIn, "Exists": selection.Exists, "DoesNotExist": selection.DoesNotExist,
}

// note says in a sentence where the spec comes from and what about it does not fit.
func (s specSource) note() string {
	switch {
	case s.Fleet == "" && len(s.Claimants) == 0:
		return "its own; no fleet owns it"
	case s.Fleet == "":
		return "its own; no fleet owns it, but its labels match the selector of fleet " + strings.Join(s.Claimants, ", ")
	case s.Missing:
		return fmt.Sprintf("fleet %s, which does not exist: shown is the device's own", s.Fleet)
	}
	note := fmt.Sprintf("the template of fleet %s; its labels match the fleet's selector (%s)", s.Fleet, s.Selector)
	if !s.LabelsMatch {
		note = fmt.Sprintf("the template of fleet %s, BUT its labels do not match the fleet's selector (%s)", s.Fleet, orNone(s.Selector))
	}
	if len(s.Claimants) > 0 {
		note += "; they also match that of fleet " + strings.Join(s.Claimants, ", ")
	}
	return note
}
