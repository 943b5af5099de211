package selector

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lib/pq"

	"rollcall/runbook"
)

// AddFields adds what a field selector asks for.
func (c *Conditions) AddFields(s FieldSelector) error {
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
		c.Add(c.field(field, r.operator, values))
	}
	return nil
}

func (c *Conditions) field(f selectableField, operator string, values []any) string {
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
		return c.contains(f, values[0])
	case opNotContains:
		return negated(c.contains(f, values[0]))
	default: // the comparisons are written alike in SQL
		return fmt.Sprintf("%s %s %s", f.expression(), operator, c.Arg(values[0]))
	}
}

// contains finds a part of a text.
func (c *Conditions) contains(f selectableField, part any) string {
	switch {
	case f.namesOf != "":
		return c.nameContains(f.namesOf, part)
	case f.or != "":
		text := c.Arg(part)
		return fmt.Sprintf("(strpos(%s, %s) > 0 or strpos(%s, %s) > 0)", f.column, text, f.or, text)
	default:
		return fmt.Sprintf("strpos(%s, %s) > 0", f.expression(), c.Arg(part))
	}
}

// nameContains finds the names first, which PostgreSQL can do in the index of the primary key alone: it is a tenth of
// the table or less.
func (c *Conditions) nameContains(table string, part any) string {
	return fmt.Sprintf("r.name = any(array(select n.name from %s n where n.org_id = %s and strpos(n.name, %s) > 0))",
		table, c.Org, c.Arg(part))
}

// equalsAny asks for a place in JSON by containment, which the GIN index on a status can answer.
func (c *Conditions) equalsAny(f selectableField, values []any) string {
	if f.path == nil {
		return c.columnIsAny(f, values)
	}
	objects, waits := make([]any, len(values)), false
	for i, value := range values {
		waits = waits || f.waits && isWait(value)
		for j := len(f.path) - 1; j >= 0; j-- {
			value = map[string]any{f.path[j]: value}
		}
		objects[i] = value
	}
	if waits {
		return "(" + c.containsAny(f.column, objects) + " and not " + Withdrawn(c.Org, "r.name") + ")"
	}
	return c.containsAny(f.column, objects)
}

// isWait reports whether a summary's status says that a device waits for its roll call.
func isWait(value any) bool {
	text, ok := value.(string)
	return ok && runbook.State(text).Open()
}

// Withdrawn is the condition that the device of this organisation and name was withdrawn from the newest roll that has
// it. Its row still says that it waits: a withdrawal leaves a device as it is. The condition reads the roll by its key.
func Withdrawn(org, name string) string {
	return `coalesce((select w.state from rollcall.restores ws
      join rollcall.roll w on w.restore_id = ws.id and w.org_id = ` + org + ` and w.name = ` + name + `
      order by ws.started_at desc, ws.id desc limit 1), '') = '` + string(runbook.StateWithdrawn) + `'`
}

func (c *Conditions) columnIsAny(f selectableField, values []any) string {
	is := " = " + c.Arg(values[0])
	if len(values) > 1 {
		c.Args[len(c.Args)-1] = pq.Array(values)
		is = " = any($" + strconv.Itoa(len(c.Args)) + ")"
	}
	if f.or == "" {
		return f.column + is
	}
	return "(" + f.column + is + " or " + f.or + is + ")"
}

// expression is the field's value in SQL. What is not of the field's type counts as not set.
func (f selectableField) expression() string {
	if f.path == nil {
		return f.column
	}
	path := "'{" + strings.Join(f.path, ",") + "}'"
	return fmt.Sprintf("(case when jsonb_typeof(%s #> %s) = '%s' then %s #>> %s end)", f.column, path, f.kind, f.column,
		path)
}
