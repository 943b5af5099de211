package inventory

import (
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// addFields adds what a field selector asks for.
func (c *conditions) addFields(s FieldSelector) error {
	for _, r := range s.requirements {
		field := selectable[s.kind][r.path]
		values := make([]any, len(r.values))
		for i, text := range r.values {
			value, err := field.kind.parse(text)
			if err != nil {
				return invalidSelector(s.String(), "failed to parse value for selector %q: %v", r.path, err)
			}
			values[i] = value
		}
		c.add(c.field(field, r.operator, values))
	}
	return nil
}

func (c *conditions) field(f selectableField, operator string, values []any) string {
	switch operator {
	case opEquals, opIn:
		return c.equalsAny(f, values)
	case opNotEquals, opNotIn:
		return negated(c.equalsAny(f, values))
	case opExists:
		return f.expression() + " is not null"
	case opNotExists:
		return f.expression() + " is null"
	case opContains:
		if f.namesOf != "" {
			return c.nameContains(f.namesOf, values[0])
		}
		return fmt.Sprintf("strpos(%s, %s) > 0", f.expression(), c.arg(values[0]))
	case opNotContains:
		return negated(fmt.Sprintf("strpos(%s, %s) > 0", f.expression(), c.arg(values[0])))
	default: // the comparisons are written alike in SQL
		return fmt.Sprintf("%s %s %s", f.expression(), operator, c.arg(values[0]))
	}
}

// nameContains finds the names first, which PostgreSQL can do in the index of the primary key alone: it is a tenth of the
// table or less.
func (c *conditions) nameContains(table string, part any) string {
	return fmt.Sprintf("r.name = any(array(select n.name from %s n where n.org_id = %s and strpos(n.name, %s) > 0))", table, c.org, c.arg(part))
}

// equalsAny asks for a place in the JSON of the status by containment, which the GIN index on status can answer.
func (c *conditions) equalsAny(f selectableField, values []any) string {
	if f.column != "" {
		if len(values) == 1 {
			return fmt.Sprintf("%s = %s", f.column, c.arg(values[0]))
		}
		return fmt.Sprintf("%s = any(%s)", f.column, c.arg(pq.Array(values)))
	}
	objects := make([]any, len(values))
	for i, value := range values {
		for j := len(f.path) - 1; j >= 0; j-- {
			value = map[string]any{f.path[j]: value}
		}
		objects[i] = value
	}
	return c.containsAny("r.status", objects)
}

// expression is the field's value in SQL. What is not of the field's type counts as not set.
func (f selectableField) expression() string {
	if f.column != "" {
		return f.column
	}
	path := "'{" + strings.Join(f.path, ",") + "}'"
	return fmt.Sprintf("(case when jsonb_typeof(r.status #> %s) = '%s' then r.status #>> %s end)", path, f.kind, path)
}
