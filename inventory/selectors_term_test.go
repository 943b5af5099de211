package inventory_test

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"rollcall/inventory"
)

// term is a term of a field selector, told apart from its text; matches is what it means, in plain Go.
type term struct {
	field, operator string
	texts           []string
	times           []time.Time
}

func anyTerm(t *rapid.T) term {
	m := term{field: rapid.SampledFrom(inventory.SelectableFields("devices")).Draw(t, "field")}
	operators := []string{"=", "==", "!=", "in", "notin", "exists", "!"}
	isTime := m.field == "metadata.creationTimestamp" || m.field == "status.lastSeen"
	if isTime {
		operators = append(operators, ">", ">=", "<", "<=")
	} else {
		operators = append(operators, "contains", "notcontains")
	}
	m.operator = rapid.SampledFrom(operators).Draw(t, "operator")
	most := 1
	if m.operator == "in" || m.operator == "notin" {
		most = 3
	}
	if isTime {
		m.times = rapid.SliceOfN(rapid.SampledFrom(someTimes), 1, most).Draw(t, "times")
	} else {
		m.texts = rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(someTexts), "device-001")), 1, most).Draw(t, "texts")
	}
	return m
}

func (m term) String() string {
	values := make([]string, 0, 3)
	for _, v := range m.texts {
		values = append(values, strings.NewReplacer(`\`, `\\`, ",", `\,`, "(", `\(`, ")", `\)`, " ", `\ `).Replace(v))
	}
	for _, v := range m.times {
		values = append(values, v.Format(time.RFC3339Nano))
	}
	switch m.operator {
	case "!":
		return "!" + m.field
	case "exists":
		return m.field
	case "in", "notin":
		return m.field + " " + m.operator + " (" + strings.Join(values, ",") + ")"
	default:
		return m.field + " " + m.operator + " " + values[0]
	}
}

func (m term) matches(d odd) bool {
	if m.times != nil {
		at := &d.created
		if m.field == "status.lastSeen" {
			at = d.lastSeen
		}
		return compare(m.operator, at, m.times, time.Time.Compare, nil)
	}
	return compare(m.operator, d.text(m.field), m.texts, strings.Compare, strings.Contains)
}

// compare says what an operator means; have is nil where the field is not set.
func compare[T any](operator string, have *T, values []T, order func(a, b T) int, contains func(a, b T) bool) bool {
	isOne := func() bool { return slices.ContainsFunc(values, func(v T) bool { return order(*have, v) == 0 }) }
	switch operator {
	case "!":
		return have == nil
	case "!=", "notin":
		return have == nil || !isOne()
	case "notcontains":
		return have == nil || !contains(*have, values[0])
	}
	if have == nil {
		return false
	}
	switch operator {
	case "=", "==", "in":
		return isOne()
	case "contains":
		return contains(*have, values[0])
	case ">":
		return order(*have, values[0]) > 0
	case ">=":
		return order(*have, values[0]) >= 0
	case "<":
		return order(*have, values[0]) < 0
	case "<=":
		return order(*have, values[0]) <= 0
	default:
		return true // it is set
	}
}

// text is a field of a device that is a string, nil where it is not set.
func (d odd) text(field string) *string {
	switch field {
	case "metadata.name":
		return &d.name
	case "metadata.alias":
		return d.alias
	case "metadata.owner":
		return d.owner
	}
	if d.status == nil {
		return nil
	}
	var value any
	_ = json.Unmarshal([]byte(*d.status), &value)
	for _, part := range strings.Split(strings.TrimPrefix(field, "status."), ".") {
		object, _ := value.(map[string]any)
		value = object[part]
	}
	if text, ok := value.(string); ok {
		return &text
	}
	return nil
}
