package printer

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

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

// ReadFleetSpec reads what it can of a fleet's spec, as readDeviceStatus does of a status.
func ReadFleetSpec(spec json.RawMessage) fleetSpec {
	var s fleetSpec
	if len(spec) > 0 {
		_ = json.Unmarshal(spec, &s)
	}
	return s
}

// LabelSelector selects the fleet's devices. Flight Control lets a fleet without one select nothing, and so does this;
// one that cannot be read selects nothing either.
func (s fleetSpec) LabelSelector() labels.Selector {
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
