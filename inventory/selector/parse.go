package selector

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// selectorText is what is left to read of a field selector.
type selectorText struct{ rest string }

// parseRequirements reads the terms of a field selector, without knowing which fields there are.
func parseRequirements(selector string) ([]fieldRequirement, error) {
	if !utf8.ValidString(selector) || strings.ContainsRune(selector, 0) {
		return nil, errors.New("it is not text in UTF-8")
	}
	t := &selectorText{rest: selector}
	if t.skipSpace(); t.rest == "" {
		return nil, nil
	}
	var requirements []fieldRequirement
	for {
		r, err := t.requirement()
		if err != nil {
			return nil, err
		}
		requirements = append(requirements, r)
		if t.skipSpace(); t.rest == "" {
			return requirements, nil
		}
		if !t.take(",") {
			return nil, t.expected("',' or end of string")
		}
	}
}

func (t *selectorText) requirement() (fieldRequirement, error) {
	t.skipSpace()
	negated := t.take("!")
	t.skipSpace()
	r := fieldRequirement{path: t.word(), operator: opExists}
	if r.path == "" {
		return r, t.expected("identifier")
	}
	if negated {
		r.operator = opNotExists
		return r, nil
	}
	if t.skipSpace(); t.rest == "" || t.rest[0] == ',' {
		return r, nil
	}
	var err error
	if r.operator, err = t.operator(); err != nil {
		return r, err
	}
	switch r.operator {
	case opExists:
	case opIn, opNotIn:
		r.values, err = t.values()
	default:
		r.values = []string{t.value()}
	}
	return r, err
}

var (
	// The longer ones come first, so that ">=" is not read as ">".
	symbols = []string{"==", opNotEquals, opNotBefore, opNotAfter, opEquals, opAfter, opBefore}
	words   = []string{opIn, opNotIn, opContains, opNotContains, opExists}
)

func (t *selectorText) operator() (string, error) {
	for _, symbol := range symbols {
		if t.take(symbol) {
			if symbol == "==" {
				symbol = opEquals
			}
			return symbol, nil
		}
	}
	before := t.rest
	if w := t.word(); slices.Contains(words, w) {
		return w, nil
	}
	t.rest = before
	return "", t.expected("one of " + strings.Join(append(slices.Clone(symbols), words...), " "))
}

// values reads a list in parentheses.
func (t *selectorText) values() ([]string, error) {
	if t.skipSpace(); !t.take("(") {
		return nil, t.expected("'('")
	}
	var values []string
	for {
		values = append(values, t.value())
		t.skipSpace()
		switch {
		case t.take(")"):
			return values, nil
		case !t.take(","):
			return nil, t.expected("',' or ')'")
		}
	}
}

// value reads up to a comma, a parenthesis, a space or the end; a backslash takes the character after it as it is.
func (t *selectorText) value() string {
	t.skipSpace()
	var b strings.Builder
	for i := 0; i < len(t.rest); i++ {
		switch c := t.rest[i]; {
		case c == '\\' && i+1 < len(t.rest):
			i++
			b.WriteByte(t.rest[i])
		case strings.IndexByte(valueEnds, c) >= 0:
			t.rest = t.rest[i:]
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	t.rest = ""
	return b.String()
}

const (
	spaces    = " \t\r\n"
	valueEnds = "(),\\" + spaces
)

// escapeValue writes a value so that it is read back as it is; a '=' at its start would be read as a part of "==".
func escapeValue(value string) string {
	var b strings.Builder
	for i, c := range []byte(value) {
		if strings.IndexByte(valueEnds, c) >= 0 || i == 0 && c == '=' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// word reads the name of a field or of an operator.
func (t *selectorText) word() string {
	end := strings.IndexAny(t.rest, "=!<>(),"+spaces)
	if end < 0 {
		end = len(t.rest)
	}
	w := t.rest[:end]
	t.rest = t.rest[end:]
	return w
}

func (t *selectorText) skipSpace() { t.rest = strings.TrimLeft(t.rest, spaces) }

func (t *selectorText) take(prefix string) bool {
	rest, found := strings.CutPrefix(t.rest, prefix)
	t.rest = rest
	return found
}

func (t *selectorText) expected(what string) error {
	found := t.rest
	if end := strings.IndexAny(found, spaces); end > 0 {
		found = found[:end]
	}
	return fmt.Errorf("found '%s', expected: %s", found, what)
}
