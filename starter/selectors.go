package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"rollcall/inventory"
)

// selectors are the two flags that choose resources by what they are.
type selectors struct {
	label, field string
	labels       labels.Selector
	fields       inventory.FieldSelector
}

func (s *selectors) bind(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.label, "selector", "l", "", "label `selector`, such as environment=production,tier!=test")
	cmd.Flags().StringVar(&s.field, "field-selector", "", "field `selector`, such as status.summary.status=ConflictPaused")
}

// complete reads the selectors of kind k. A selector that is given and chooses nothing is a usage error: it is more likely
// a script's empty variable than a wish for everything.
func (s *selectors) complete(cmd *cobra.Command, k kind) error {
	if cmd.Flags().Changed("selector") {
		selector, err := labels.Parse(s.label)
		if err != nil {
			return usagef("--selector: %w", err)
		}
		if selector.Empty() || strings.Trim(s.label, ", ") == "" {
			return usagef("--selector is empty; leave it out to mean no selection")
		}
		s.labels = selector
	}
	if cmd.Flags().Changed("field-selector") {
		if strings.Trim(s.field, ", ") == "" {
			return usagef("--field-selector is empty; leave it out to mean no selection")
		}
		fields, err := inventory.ParseFieldSelector(k.plural, s.field)
		if err != nil {
			return usagef("--field-selector: %w", err)
		}
		if fields.Empty() {
			return usagef("--field-selector is empty; leave it out to mean no selection")
		}
		s.fields = fields
	}
	return nil
}

func (s *selectors) given() bool { return s.labels != nil || !s.fields.Empty() }

func (s *selectors) query(orgID string, names []string) inventory.Query {
	return inventory.Query{OrgID: orgID, Names: names, Labels: s.labels, Fields: s.fields}
}

// distinct leaves out repeated names and keeps their order.
func distinct(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
