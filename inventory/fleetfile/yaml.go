package fleetfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxAliased is how many values a document may gain by its aliases, so that a few lines of aliases to aliases cannot
// fill the memory.
const maxAliased = 100_000

// maxDepth is how deep a document may be nested, its aliases followed; a mapping can be merged into itself without end.
const maxDepth = 1000

// yamlToJSON translates a YAML document as sigs.k8s.io/yaml does, which Flight Control uses, but for three things: a
// number keeps every digit that it is written with, where that package makes a float of what is above 64 bits; a field
// that stands twice is an error; and a field name stays as it is written. linesBefore is added to the line numbers of
// errors. It reports whether there are anchors in it.
func yamlToJSON(text []byte, linesBefore int) (value []byte, anchors bool, err error) {
	root, err := parseYAML(text)
	if err != nil {
		return nil, false, shiftLines(err, linesBefore)
	}
	t := yamlTranslator{linesBefore: linesBefore, open: map[*yaml.Node]bool{}}
	if err := t.node(root); err != nil {
		return nil, false, err
	}
	return t.out.Bytes(), t.anchors, nil
}

// parseYAML reads the one document of text. The parser stops behind a document and does not look at what follows, so it
// is asked for another.
func parseYAML(text []byte) (*yaml.Node, error) {
	parser := yaml.NewDecoder(bytes.NewReader(text))
	var root, rest yaml.Node
	if err := parser.Decode(&root); errors.Is(err, io.EOF) { // nothing that a YAML reader sees
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, nil
	} else if err != nil {
		return nil, err
	}
	switch err := parser.Decode(&rest); {
	case err == nil:
		return nil, fmt.Errorf("yaml: line %d: there is a second document without '---' before it", rest.Line)
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	return &root, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (line (\d+): )?`)

// shiftLines makes the line in an error of the YAML parser one of the whole stream.
func shiftLines(err error, linesBefore int) error {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil || m[2] == "" {
		return err
	}
	line, _ := strconv.Atoi(m[2])
	return fmt.Errorf("line %d: %s", line+linesBefore, err.Error()[len(m[0]):])
}

type yamlTranslator struct {
	out         bytes.Buffer
	linesBefore int
	// aliased counts the values that aliases have brought; aliases is how many aliases enclose the present one.
	aliased, aliases int
	depth            int
	// anchors says that a value has an anchor.
	anchors bool
	// open holds the anchored values that enclose the present one.
	open map[*yaml.Node]bool
}

func (t *yamlTranslator) fail(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", n.Line+t.linesBefore, fmt.Sprintf(format, args...))
}

func (t *yamlTranslator) node(n *yaml.Node) error {
	if t.depth++; t.depth > maxDepth {
		return t.fail(n, "the document is nested more than %d deep", maxDepth)
	}
	defer func() { t.depth-- }()
	if t.aliases > 0 {
		if t.aliased++; t.aliased > maxAliased {
			return t.fail(n, "the document's aliases stand for more than %d values", maxAliased)
		}
	}
	t.anchors = t.anchors || n.Anchor != ""
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.DocumentNode:
		return t.node(n.Content[0])
	case n.Kind == yaml.AliasNode:
		return t.alias(n, t.node)
	case n.Kind == yaml.MappingNode && tag == "!!map":
		return t.mapping(n)
	case n.Kind == yaml.SequenceNode && tag == "!!seq":
		return t.sequence(n)
	case n.Kind == yaml.ScalarNode:
		return t.scalar(n, tag)
	default:
		return t.fail(n, "the tag %s is not supported", tag)
	}
}

// alias calls do with the value that an alias stands for.
func (t *yamlTranslator) alias(n *yaml.Node, do func(*yaml.Node) error) error {
	if t.open[n.Alias] {
		return t.fail(n, "the anchor %q contains itself", n.Value)
	}
	t.open[n.Alias] = true
	t.aliases++
	err := do(n.Alias)
	t.aliases--
	delete(t.open, n.Alias)
	return err
}

func (t *yamlTranslator) sequence(n *yaml.Node) error {
	t.out.WriteByte('[')
	for i, item := range n.Content {
		if i > 0 {
			t.out.WriteByte(',')
		}
		if err := t.node(item); err != nil {
			return err
		}
	}
	t.out.WriteByte(']')
	return nil
}

func (t *yamlTranslator) scalar(n *yaml.Node, tag string) error {
	var value any
	switch tag {
	case "!!null":
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) {
			t.out.WriteString(n.Value)
			return nil
		}
		if err := n.Decode(&value); err != nil {
			return shiftLines(err, t.linesBefore)
		}
	case "!!bool":
		value = slices.Contains(yamlTrue, n.Value)
	case "!!str", "!!timestamp":
		value = n.Value
		if plain := n.Style == 0; plain && slices.Contains(yamlTrue, n.Value) {
			value = true
		} else if plain && slices.Contains(yamlFalse, n.Value) {
			value = false
		}
	default:
		return t.fail(n, "the tag %s is not supported", tag)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return t.fail(n, "%q cannot be written in JSON", n.Value)
	}
	t.out.Write(text)
	return nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// YAML 1.1's booleans, which is the version that Flight Control reads.
var (
	yamlTrue  = []string{"true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
	yamlFalse = []string{"false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF"}
)
