package fleetfile

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"
)

// yamlField is a field of a YAML mapping, its own or a merged one.
type yamlField struct {
	name  string
	value *yaml.Node
}

func (t *yamlTranslator) mapping(n *yaml.Node) error {
	fields, err := t.fields(n)
	if err != nil {
		return err
	}
	t.out.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			t.out.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return t.fail(n, "the field name %q cannot be written in JSON", f.name)
		}
		t.out.Write(name)
		t.out.WriteByte(':')
		if err := t.node(f.value); err != nil {
			return err
		}
	}
	t.out.WriteByte('}')
	return nil
}

// fields are a mapping's own fields, then those that it merges with "<<" and does not have itself.
func (t *yamlTranslator) fields(n *yaml.Node) ([]yamlField, error) {
	var own, merged []yamlField
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			more, err := t.merged(value)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		}
		name, err := t.name(key)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, t.fail(key, "the field %q stands there twice", name)
		}
		seen[name] = true
		own = append(own, yamlField{name: name, value: value})
	}
	for _, f := range merged {
		if !seen[f.name] {
			seen[f.name] = true
			own = append(own, f)
		}
	}
	return own, nil
}

func (t *yamlTranslator) name(key *yaml.Node) (string, error) {
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null" {
		return "", t.fail(key, "the name of a field must be a string")
	}
	return key.Value, nil
}

// merged are the fields that the value of "<<" brings: those of a mapping, or of several, of which the first that has a
// field wins.
func (t *yamlTranslator) merged(value *yaml.Node) ([]yamlField, error) {
	var all []yamlField
	var add func(n *yaml.Node) error
	add = func(n *yaml.Node) error {
		if n.Kind == yaml.AliasNode {
			return t.alias(n, add)
		}
		if n.Kind != yaml.MappingNode {
			return t.fail(n, "'<<' merges mappings only")
		}
		fields, err := t.fields(n)
		if t.aliased += len(fields); t.aliased > maxAliased {
			return t.fail(n, "the document's aliases stand for more than %d values", maxAliased)
		}
		all = append(all, fields...)
		return err
	}
	sources := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		sources = value.Content
	}
	for _, n := range sources {
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return all, nil
}
