package inventory_test

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"rollcall/inventory/selector"
)

// term is a term of a field selector, told apart from its text; matches is what it means, in plain Go.
type term struct {
	field, operator string
	texts           []string
	times           []time.Time
}

// statusValues are some of the values that a status may be compared with.
var statusValues = map[string][]string{
	"status.summary.status":             {"Online", "Error", "PoweredOff"},
	"status.updated.status":             {"UpToDate", "Unknown"},
	"status.lifecycle.status":           {"Enrolled", "Unknown"},
	"status.applicationsSummary.status": {"Healthy", "Error"},
	"status.capabilities.osMode":        {"image", "package"},
}

func anyTerm(t *rapid.T) term {
	m := term{field: rapid.SampledFrom(selector.SelectableFields("devices")).Draw(t, "field")}
	operators := []string{"=", "==", "!=", "in", "notin", "exists", "!"}
	isTime := m.field == "metadata.creationTimestamp"
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
		texts := append(slices.Clone(someTexts), "device-001")
		if strings.HasPrefix(m.field, "status.") && !strings.HasSuffix(m.operator, "contains") {
			texts = statusValues[m.field]
		}
		m.texts = rapid.SliceOfN(rapid.SampledFrom(texts), 1, most).Draw(t, "texts")
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
		return compare(m.operator, at, m.times, time.Time.Compare, nil)
	}
	if m.field == "metadata.nameOrAlias" {
		name := compare(m.operator, &d.name, m.texts, strings.Compare, strings.Contains)
		alias := compare(m.operator, d.alias, m.texts, strings.Compare, strings.Contains)
		if strings.HasPrefix(m.operator, "!=") || strings.HasPrefix(m.operator, "not") || m.operator == "!" {
			return name && alias
		}
		return name || alias
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
