package fleetfile

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// The functions below cut JSON into its parts without decoding it, so that what is not understood is kept digit for
// digit.

// member is a field of a JSON object.
type member struct {
	name  string
	value []byte
}

// newDecoder makes a decoder that leaves it to addMember and jsonbound to refuse a name that an object has twice: they
// can say in which resource that is.
func newDecoder(r io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true))
}

// members cuts a JSON value into its fields, whose values share its memory. Anything but an object, and a name that
// stands twice, is an error.
func members(object []byte) ([]member, error) {
	if jsonType(object) != "an object" {
		return nil, fmt.Errorf("must be an object, not %s", jsonType(object))
	}
	d := newDecoder(bytes.NewBuffer(object))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var fields fieldList
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		field := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		end := int(d.InputOffset())
		field.value = object[end-len(value) : end]
		if err := fields.add(field); err != nil {
			return nil, err
		}
	}
	return fields.members, nil
}

// fieldList collects the fields of an object.
type fieldList struct {
	members []member
	// seen holds the names, once there are so many that looking through them takes longer.
	seen map[string]bool
}

// fewFields is how many names are looked through one by one.
const fewFields = 16

// add adds a field, or refuses one whose name is there already.
func (l *fieldList) add(field member) error {
	if l.has(field.name) {
		return fmt.Errorf("the field %q stands there twice", field.name)
	}
	l.members = append(l.members, field)
	switch n := len(l.members); {
	case n == fewFields:
		l.seen = map[string]bool{}
		for _, m := range l.members {
			l.seen[m.name] = true
		}
	case n > fewFields:
		l.seen[field.name] = true
	}
	return nil
}

func (l *fieldList) has(name string) bool {
	if l.seen != nil {
		return l.seen[name]
	}
	for _, m := range l.members {
		if m.name == name {
			return true
		}
	}
	return false
}

// joinMembers is the inverse of members.
func joinMembers(fields []member) []byte {
	size := len("{}")
	for _, f := range fields {
		size += len(f.name) + len(f.value) + len(`"":,`)
	}
	object := append(make([]byte, 0, size), '{')
	for i, f := range fields {
		if i > 0 {
			object = append(object, ',')
		}
		object, _ = jsontext.AppendQuote(object, f.name) // a name that was read is UTF-8
		object = append(append(object, ':'), f.value...)
	}
	return append(object, '}')
}

// eachElement passes the elements of a JSON list to do. They share its memory.
func eachElement(list []byte, do func(value []byte) error) error {
	d := newDecoder(bytes.NewBuffer(list))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		end := int(d.InputOffset())
		if err := do(list[end-len(value) : end]); err != nil {
			return err
		}
	}
	return nil
}

// jsonType names the type of a valid JSON value.
func jsonType(value []byte) string { return typeName(jsontext.Value(value).Kind()) }

func typeName(kind jsontext.Kind) string {
	switch kind {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
