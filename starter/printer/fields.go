package printer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// Path is a JSONPath expression, as kubectl takes it: with or without braces, and with or without a leading dot.
type Path struct {
	text   string
	parsed *jsonpath.JSONPath
}

// ParsePath reads an expression such as .metadata.name or {.status.summary.status}.
func ParsePath(text string) (Path, error) {
	inner := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "{"), "}")
	if inner == "" || strings.ContainsAny(inner, "{}") {
		return Path{}, fmt.Errorf("%q is not a field: give one such as .metadata.name", text)
	}
	if !strings.HasPrefix(inner, ".") && !strings.HasPrefix(inner, "[") && !strings.HasPrefix(inner, "$") {
		inner = "." + inner
	}
	parsed := jsonpath.New("field").AllowMissingKeys(true)
	if err := parsed.Parse("{" + inner + "}"); err != nil {
		return Path{}, fmt.Errorf("%q is not a field (%w): give one such as .metadata.name", text, err)
	}
	return Path{text: inner, parsed: parsed}, nil
}

// find returns the values that the path leads to in an object.
func (p Path) find(object any) []any {
	results, err := p.parsed.FindResults(object)
	if err != nil {
		return nil // there is no such field
	}
	var found []any
	for _, result := range results {
		for _, value := range result {
			if value.IsValid() && value.CanInterface() {
				found = append(found, value.Interface())
			}
		}
	}
	return found
}

// Objects are v's elements as a script sees them: decoded from their JSON.
func Objects[T any](list []T) ([]any, error) {
	objects := make([]any, len(list))
	for i, v := range list {
		decoded, err := object(v)
		if err != nil {
			return nil, err
		}
		objects[i] = decoded
	}
	return objects, nil
}

func object(v any) (decoded any, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&decoded); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return decoded, nil
}

// SortBy sorts a list by a field: numbers as numbers, all else as text, and what does not have the field last.
func SortBy[T any](list []T, by Path) error {
	objects, err := Objects(list)
	if err != nil {
		return err
	}
	type keyed struct {
		item   T
		has    bool
		number float64
		text   string
	}
	items := make([]keyed, len(list))
	for i, item := range list {
		items[i].item = item
		if found := by.find(objects[i]); len(found) > 0 {
			items[i].has, items[i].text = true, fmt.Sprint(found[0])
			if number, ok := found[0].(json.Number); ok {
				items[i].number, _ = number.Float64()
				items[i].text = ""
			}
		}
	}
	slices.SortStableFunc(items, func(a, b keyed) int {
		if a.has != b.has {
			return cmp.Compare(btoi(b.has), btoi(a.has))
		}
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.text, b.text))
	})
	for i, item := range items {
		list[i] = item.item
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// JSONPath writes what a template such as {.items[*].metadata.name} makes of v.
func JSONPath(w io.Writer, template string, v any) error {
	parsed := jsonpath.New("output").AllowMissingKeys(true)
	if err := parsed.Parse(template); err != nil {
		return fmt.Errorf("-o jsonpath: %q cannot be read (%w): give a template such as {.items[*].metadata.name}", template,
			err)
	}
	decoded, err := object(v)
	if err != nil {
		return err
	}
	if err := parsed.Execute(w, decoded); err != nil {
		return fmt.Errorf("-o jsonpath: %w", err)
	}
	return nil
}

// Column is a column of -o custom-columns.
type Column struct {
	Header string
	Path   Path
}

// ParseColumns reads NAME:.metadata.name,OWNER:.metadata.owner.
func ParseColumns(spec string) ([]Column, error) {
	var columns []Column
	for part := range strings.SplitSeq(spec, ",") {
		header, path, ok := strings.Cut(part, ":")
		if !ok || header == "" {
			return nil, fmt.Errorf("-o custom-columns: %q is not HEADER:FIELD, such as NAME:.metadata.name", part)
		}
		parsed, err := ParsePath(path)
		if err != nil {
			return nil, fmt.Errorf("-o custom-columns: %w", err)
		}
		columns = append(columns, Column{Header: header, Path: parsed})
	}
	return columns, nil
}

// ColumnRows is the table that columns make of objects.
func ColumnRows(columns []Column, objects []any) (headers []string, rows [][]string) {
	for _, c := range columns {
		headers = append(headers, c.Header)
	}
	for _, o := range objects {
		row := make([]string, len(columns))
		for i, c := range columns {
			var cells []string
			for _, value := range c.Path.find(o) {
				cells = append(cells, cellText(value))
			}
			row[i] = OrNone(strings.Join(cells, ","))
		}
		rows = append(rows, row)
	}
	return headers, rows
}

func cellText(value any) string {
	switch value.(type) {
	case map[string]any, []any:
		text, err := JSONLine(value)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	return fmt.Sprint(value)
}
