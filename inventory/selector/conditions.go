package selector

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Conditions collects the terms of a WHERE clause together with their arguments.
type Conditions struct {
	terms []string
	Args  []any
	// Org is the placeholder of the organisation that is asked about.
	Org string
}

// Arg adds an argument and returns its placeholder.
func (c *Conditions) Arg(value any) string {
	c.Args = append(c.Args, value)
	return "$" + strconv.Itoa(len(c.Args))
}

// Add adds a term; all terms must hold.
func (c *Conditions) Add(term string) { c.terms = append(c.terms, term) }

// Where joins the terms with AND.
func (c *Conditions) Where() string { return strings.Join(c.terms, "\n  and ") }

// containsObject is a term that a GIN index on column can answer. object is marshalled to JSON.
func (c *Conditions) containsObject(column string, object any) string {
	text, err := json.Marshal(object)
	if err != nil {
		panic(err) // maps of strings and booleans can always be marshalled
	}
	return fmt.Sprintf("%s @> %s::jsonb", column, c.Arg(string(text)))
}

// containsAny holds where column contains one of objects.
func (c *Conditions) containsAny(column string, objects []any) string {
	terms := make([]string, len(objects))
	for i, object := range objects {
		terms[i] = c.containsObject(column, object)
	}
	return "(" + strings.Join(terms, " or ") + ")"
}

// negated is true where term is false or unknown; a NULL column has no labels and no status, which is not unknown.
func negated(term string) string { return "not coalesce(" + term + ", false)" }

// AddLabels adds what a Kubernetes label selector asks for. column is the JSON object of labels, which may be NULL. As
// in Kubernetes, != and notin hold for what does not have the label at all. A nil selector asks for nothing.
func (c *Conditions) AddLabels(column string, selector labels.Selector) {
	if selector == nil {
		return
	}
	requirements, selectable := selector.Requirements()
	if !selectable {
		c.Add("false")
	}
	for _, r := range requirements {
		c.Add(c.label(column, r))
	}
}

func (c *Conditions) label(column string, r labels.Requirement) string {
	switch r.Operator() {
	case selection.In, selection.Equals, selection.DoubleEquals:
		return c.containsAny(column, labelObjects(r))
	case selection.NotIn, selection.NotEquals:
		return negated(c.containsAny(column, labelObjects(r)))
	case selection.Exists:
		return fmt.Sprintf("%s ? %s", column, c.Arg(r.Key()))
	case selection.DoesNotExist:
		return negated(fmt.Sprintf("%s ? %s", column, c.Arg(r.Key())))
	case selection.GreaterThan:
		return c.labelNumber(column, r, ">")
	case selection.LessThan:
		return c.labelNumber(column, r, "<")
	default:
		return "false"
	}
}

func labelObjects(r labels.Requirement) []any {
	values := r.ValuesUnsorted()
	objects := make([]any, len(values))
	for i, value := range values {
		objects[i] = map[string]string{r.Key(): value}
	}
	return objects
}

// labelNumber compares a label as a 64-bit integer; a label that is none, or is missing, does not match.
func (c *Conditions) labelNumber(column string, r labels.Requirement, operator string) string {
	values := r.ValuesUnsorted()
	if len(values) != 1 {
		return "false"
	}
	value := fmt.Sprintf("(%s ->> %s)", column, c.Arg(r.Key()))
	number := fmt.Sprintf("(case when %s ~ '^[-+]?[0-9]+$' then %s::numeric end)", value, value)
	return fmt.Sprintf("(%s between %d and %d and %s %s %s::numeric)",
		number, int64(math.MinInt64), int64(math.MaxInt64), number, operator, c.Arg(values[0]))
}
