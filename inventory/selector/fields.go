package selector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/runbook"
)

// FieldSelector selects resources by their fields. The zero value selects all of any kind.
type FieldSelector struct {
	kind         string
	requirements []fieldRequirement
}

// fieldRequirement is one of the terms of a field selector, all of which must hold.
type fieldRequirement struct {
	path     string
	operator string
	values   []string
}

// ParseFieldSelector reads a field selector as Flight Control's command line takes it, for "devices", "fleets",
// "enrollmentrequests" or "events": terms with commas between them, all of which must hold. The operators are =, ==,
// !=, in (a,b), notin (a,b), contains, notcontains, a bare field (it is set), !field (it is not set), and >, >=, <, <=
// on times, which are written as in RFC 3339. As in Kubernetes, != and notin hold for what does not have the field at
// all. A value may hold anything; a comma, a parenthesis, a space and a backslash in it need a backslash before them.
// An empty selector selects everything. A status that no device can have is refused, as it is a slip of the pen.
// Anything wrong is a *runbook.Refusal with CodeInvalidRequest.
func ParseFieldSelector(kind, selector string) (FieldSelector, error) {
	if _, known := selectable[kind]; !known {
		return FieldSelector{}, invalidSelector(selector, "there are no field selectors on %q", kind)
	}
	requirements, err := parseRequirements(selector)
	if err != nil {
		return FieldSelector{}, invalidSelector(selector, "%v", err)
	}
	for _, r := range requirements {
		if err := r.check(kind); err != nil {
			return FieldSelector{}, invalidSelector(selector, "%v", err)
		}
	}
	return FieldSelector{kind: kind, requirements: requirements}, nil
}

func invalidSelector(selector, format string, args ...any) error {
	return runbook.Refuse(runbook.CodeInvalidRequest, "invalid field selector %q: %s", selector,
		fmt.Sprintf(format, args...))
}

// Equals is a field selector, as ParseFieldSelector reads it, for what has this value in this field.
func Equals(field, value string) string {
	return fieldRequirement{path: field, operator: opEquals, values: []string{value}}.String()
}

// Empty reports whether the selector selects everything.
func (s FieldSelector) Empty() bool { return len(s.requirements) == 0 }

// Kind is the kind that the selector was made for, as in ParseFieldSelector; empty for the zero value.
func (s FieldSelector) Kind() string { return s.kind }

// String is the selector in a form that ParseFieldSelector reads back.
func (s FieldSelector) String() string {
	terms := make([]string, len(s.requirements))
	for i, r := range s.requirements {
		terms[i] = r.String()
	}
	return strings.Join(terms, ",")
}

func (r fieldRequirement) String() string {
	values := make([]string, len(r.values))
	for i, v := range r.values {
		values[i] = escapeValue(v)
	}
	switch r.operator {
	case opExists:
		return r.path
	case opNotExists:
		return "!" + r.path
	case opIn, opNotIn:
		return r.path + " " + r.operator + " (" + strings.Join(values, ",") + ")"
	case opContains, opNotContains:
		return r.path + " " + r.operator + " " + values[0]
	default:
		return r.path + r.operator + values[0]
	}
}

// check reports whether the field can be selected on kind, with this operator and these values.
func (r fieldRequirement) check(kind string) error {
	field, known := selectable[kind][r.path]
	if !known {
		return fmt.Errorf("unable to resolve selector name %q. Supported selectors for %s are: %s",
			r.path, kind, strings.Join(SelectableFields(kind), ", "))
	}
	if !slices.Contains(operatorsOf[field.kind], r.operator) {
		return fmt.Errorf("operator %q is unsupported for %q, which is a %s. Supported operators are: %s",
			r.operator, r.path, field.kind, strings.Join(operatorsOf[field.kind], ", "))
	}
	for _, v := range r.values {
		if _, err := field.kind.parse(v); err != nil {
			return fmt.Errorf("failed to parse value for selector %q: %w", r.path, err)
		}
		if !field.canHave(r.operator, v) {
			return fmt.Errorf("%s is never %q; it is one of: %s", r.path, v, strings.Join(field.values, ", "))
		}
	}
	return nil
}

// canHave reports whether the field can have the value that it is compared with; a part of a value may be anything.
func (f selectableField) canHave(operator, value string) bool {
	return f.values == nil || operator == opContains || operator == opNotContains || slices.Contains(f.values, value)
}

// parse reads a value of a selector in the type in which it is compared.
func (k fieldKind) parse(value string) (any, error) {
	switch k {
	case timeField:
		t, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return nil, fmt.Errorf("%q is not a time such as 2026-08-01T10:00:00Z", value)
		}
		return t, nil
	case boolField:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", value)
		}
		return b, nil
	default:
		return value, nil
	}
}
