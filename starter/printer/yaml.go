package printer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// printYAML writes v as YAML, by its JSON form.
func printYAML(w io.Writer, v any) error {
	var text bytes.Buffer
	if err := printJSON(&text, v); err != nil {
		return err
	}
	out, err := YAML(text.Bytes())
	if err != nil {
		return err
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return nil
}

// YAML rewrites JSON as YAML. It never takes a number for more than its digits, so that one which fits no type of ours
// comes out as it went in; and it keeps the order of fields.
func YAML(text json.RawMessage) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(escapeUnseen(text), &node); err != nil {
		return nil, fmt.Errorf("rewrite JSON as YAML: %w", err)
	}
	plain(&node)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return escapeUnseen(out.Bytes()), nil
}

// ambiguous are texts that some reader of YAML takes for a truth value, a number, a time or a merge: readers of version
// 1.1, as Kubernetes' own, know more of them than ours.
var ambiguous = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|=|<<|[-+.0-9].*)$`)

// plain drops JSON's braces and quotes; the encoder puts quotes back where YAML needs them. A text with characters that
// are written as escapes keeps its quotes.
func plain(node *yaml.Node) {
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!str" && ambiguous.MatchString(node.Value):
	case node.Kind == yaml.ScalarNode && strings.IndexFunc(node.Value, unseen) >= 0:
		node.Style = yaml.DoubleQuotedStyle
	case node.Kind == yaml.ScalarNode || len(node.Content) > 0:
		node.Style = 0
	}
	for _, child := range node.Content {
		plain(child)
	}
}
