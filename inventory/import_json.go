package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// The functions below cut JSON into its parts without decoding it, so that what is not understood is kept digit for digit,
// and a list of 100,000 devices is not held in memory twice.

// splitJSON cuts a text into the JSON values that it consists of, and checks them.
func splitJSON(text []byte) ([][]byte, error) {
	var values [][]byte
	for at := skipSpace(text, 0); at < len(text); at = skipSpace(text, at) {
		end := valueEnd(text, at)
		if value := text[at:end]; json.Valid(value) {
			values = append(values, value)
			at = end
			continue
		}
		err := json.Unmarshal(text[at:end], new(json.RawMessage))
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			syntax.Offset += int64(at)
		}
		return nil, err
	}
	return values, nil
}

// member is a field of a JSON object.
type member struct {
	name string
	// key is the name as it is written, with its quotes.
	key, value []byte
}

// members cuts a valid JSON value into its fields. Anything but an object, and a name that stands twice, is an error.
func members(object []byte) ([]member, error) {
	if jsonType(object) != "an object" {
		return nil, fmt.Errorf("must be an object, not %s", jsonType(object))
	}
	var fields []member
	seen := map[string]bool{}
	at := skipSpace(object, skipSpace(object, 0)+1)
	for object[at] != '}' {
		m := member{}
		end := valueEnd(object, at)
		m.key = object[at:end]
		if err := json.Unmarshal(m.key, &m.name); err != nil {
			return nil, err
		}
		if seen[m.name] {
			return nil, fmt.Errorf("the field %q stands there twice", m.name)
		}
		seen[m.name] = true
		at = skipSpace(object, skipSpace(object, end)+1)
		end = valueEnd(object, at)
		m.value = object[at:end]
		fields = append(fields, m)
		at = skipComma(object, end)
	}
	return fields, nil
}

// joinMembers is the inverse of members.
func joinMembers(fields []member) []byte {
	object := []byte("{")
	for i, f := range fields {
		if i > 0 {
			object = append(object, ',')
		}
		object = append(append(append(object, f.key...), ':'), f.value...)
	}
	return append(object, '}')
}

// elements cuts a valid JSON list.
func elements(list []byte) ([][]byte, error) {
	if jsonType(list) != "a list" {
		return nil, fmt.Errorf("must be a list, not %s", jsonType(list))
	}
	var items [][]byte
	at := skipSpace(list, skipSpace(list, 0)+1)
	for list[at] != ']' {
		end := valueEnd(list, at)
		items = append(items, list[at:end])
		at = skipComma(list, end)
	}
	return items, nil
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n') {
		at++
	}
	return at
}

func skipComma(text []byte, at int) int {
	at = skipSpace(text, at)
	if text[at] == ',' {
		at = skipSpace(text, at+1)
	}
	return at
}

// valueEnd is where the JSON value that begins at at ends. Of what is no JSON it is somewhere behind at, at most at the
// end of text.
func valueEnd(text []byte, at int) int {
	depth := 0
	for at < len(text) {
		switch text[at] {
		case '"':
			at = stringEnd(text, at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		default:
			at++
			if depth == 0 {
				return literalEnd(text, at)
			}
			continue
		}
		if depth <= 0 {
			return at
		}
	}
	return at
}

func stringEnd(text []byte, at int) int {
	for at++; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return len(text)
}

func literalEnd(text []byte, at int) int {
	if end := bytes.IndexAny(text[at:], "{}[],:\" \t\r\n"); end >= 0 {
		return at + end
	}
	return len(text)
}

// jsonType names the type of a valid JSON value.
func jsonType(value []byte) string {
	switch value[skipSpace(value, 0)] {
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
