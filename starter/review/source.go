package review

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"rollcall/inventory"
	"rollcall/starter/printer"
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
func findSpec(ctx context.Context, store *inventory.Store,
	device inventory.Resource,
) (specSource, json.RawMessage, error) {
	fleets, err := store.Fleets(ctx, inventory.Query{OrgID: device.OrgID})
	if err != nil {
		return specSource{}, nil, fmt.Errorf("read the fleets: %w", err)
	}
	name, owned := strings.CutPrefix(device.Metadata.Owner, inventory.KindFleet+"/")
	source, spec := specSource{Fleet: name, Missing: owned}, device.Spec
	for _, fleet := range fleets {
		f := printer.ReadFleetSpec(fleet.Spec)
		selector := f.LabelSelector()
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
		note = fmt.Sprintf("the template of fleet %s, BUT its labels do not match the fleet's selector (%s)", s.Fleet,
			printer.OrNone(s.Selector))
	}
	if len(s.Claimants) > 0 {
		note += "; they also match that of fleet " + strings.Join(s.Claimants, ", ")
	}
	return note
}
