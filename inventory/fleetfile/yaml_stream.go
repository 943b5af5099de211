package fleetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// yamlReader reads a document in YAML. It takes the text apart before the YAML is parsed, since a parsed list takes
// ten times the memory of its text: each item of a list in block style is parsed by itself.
type yamlReader struct {
	in *documentReader
	l  *listing
	// text is what has been read of the present part, and first its first line's number.
	text  []byte
	first int
	part  yamlPart
	// indent is the column of the dashes of the items.
	indent int
	// anchored are the items that hold anchors, which later ones may name.
	anchored []byte
}

// yamlPart is what a part of a document holds.
type yamlPart int

const (
	ownFields yamlPart = iota
	// itemsKey is the line with the name of the list, and comments behind it.
	itemsKey
	item
)

// maxAnchored is how long all items with anchors may be together.
const maxAnchored = 1 << 20

// yaml reads a document in YAML that begins at a line.
func (d *streamDecoder) yaml(in *documentReader, line int) error {
	y := yamlReader{in: in, l: d.listing(), first: line}
	for number := line; ; number++ {
		start := len(y.text)
		text, err := in.appendLine(y.text)
		y.text = text
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = y.line(start, number)
		}
		if errors.Is(err, errTooLong) {
			return fmt.Errorf("%s: line %d: %w", y.l.at, y.first, err)
		}
		if err != nil {
			return err
		}
	}
	if err := y.flush(); err != nil {
		return err
	}
	if len(y.l.fields.members) == 0 && !y.l.hasItems { // the document is null
		return nil
	}
	return y.l.end()
}

// line looks at the line that begins at start of the text, whether it begins another part.
func (y *yamlReader) line(start, number int) error {
	line := y.text[start:]
	content := bytes.TrimLeft(line, " ")
	indent := len(line) - len(content)
	if blank := bytes.TrimSpace(content); len(blank) == 0 || blank[0] == '#' {
		return nil
	}
	isItem := content[0] == '-' && (len(content) == 1 || strings.IndexByte(" \t\r\n", content[1]) >= 0)
	switch {
	case y.part == ownFields && isItems(line):
		return y.cut(start, number, itemsKey)
	case y.part == itemsKey && isItem:
		y.indent = indent
		return y.cut(start, number, item)
	case y.part == itemsKey: // no list in block style; it is read as a whole
		y.part = ownFields
	case y.part == item && indent == y.indent && isItem:
		return y.cut(start, number, item)
	case y.part == item && indent <= y.indent:
		return y.cut(start, number, ownFields)
	}
	return nil
}

// isItems reports whether a line begins a list in block style in the field items of a document.
func isItems(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("items:"))
	rest = bytes.TrimSpace(rest)
	return found && (len(rest) == 0 || rest[0] == '#')
}

// cut ends the present part before the line that begins at start, with which the next one begins.
func (y *yamlReader) cut(start, number int, next yamlPart) error {
	line := bytes.Clone(y.text[start:])
	y.text = y.text[:start]
	var err error
	if y.part == itemsKey {
		err = y.l.begin()
	} else {
		err = y.flush()
	}
	y.text, y.first, y.part = append(y.text[:0], line...), number, next
	return err
}

// flush passes on the present part.
func (y *yamlReader) flush() error {
	if !utf8.Valid(y.text) {
		return fmt.Errorf("%s: is not UTF-8 text; save it in that encoding first"+
			" (a file that Windows PowerShell's '>' wrote is UTF-16)", y.l.at)
	}
	if y.part == item {
		return y.item()
	}
	value, _, err := yamlToJSON(y.text, y.first-1)
	if err != nil {
		return fmt.Errorf("%s: %w", y.l.at, err)
	}
	if jsonType(value) == "null" {
		return nil
	}
	return y.l.object(value)
}

// item passes on the item in text. One that names an anchor of an earlier item is parsed behind it once more.
func (y *yamlReader) item() error {
	values, anchors, err := yamlToJSON(y.text, y.first-1)
	if err != nil && strings.Contains(err.Error(), "unknown anchor") && len(y.anchored) > 0 {
		text := append(bytes.Clone(y.anchored), y.text...)
		values, _, err = yamlToJSON(text, y.first-1-bytes.Count(y.anchored, []byte("\n")))
		anchors = true
	}
	if err != nil {
		return fmt.Errorf("%s: %w", y.l.at, err)
	}
	if anchors {
		if y.anchored = append(y.anchored, y.text...); len(y.anchored) > maxAnchored {
			return fmt.Errorf("%s: line %d: the items with anchors are longer than %d MB together", y.l.at, y.first,
				maxAnchored>>20)
		}
	}
	return y.l.last(values)
}
