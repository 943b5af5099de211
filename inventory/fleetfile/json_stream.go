package fleetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonReader reads the values of a document in JSON, one after the other and the items of a list one by one.
type jsonReader struct {
	*jsontext.Decoder
	d    *streamDecoder
	text *jsonText
}

// json reads a document in JSON that begins at a line.
func (d *streamDecoder) json(in *documentReader, line int) error {
	text := &jsonText{in: in, line: line, first: line}
	r := jsonReader{Decoder: newDecoder(text), d: d, text: text}
	before := d.resources
	for {
		text.room = maxText
		kind := r.PeekKind()
		if kind == 0 {
			_, err := r.ReadToken()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return r.explain(err, d.documents+1, d.resources > before)
		}
		d.documents++
		if kind != '{' {
			return fmt.Errorf("document %d: must be an object, not %s", d.documents, typeName(kind))
		}
		l := d.listing()
		err := r.object(l)
		if err == nil {
			err = l.end()
		}
		if err != nil {
			return r.explain(err, d.documents, d.resources > before)
		}
	}
}

func (r jsonReader) object(l *listing) error {
	if _, err := r.ReadToken(); err != nil {
		return err
	}
	for r.PeekKind() != '}' {
		name, err := r.ReadToken()
		if err != nil {
			return err
		}
		field := member{name: name.String()}
		if field.name == "items" && r.PeekKind() == '[' {
			err = r.items(l)
		} else if field.value, err = r.value(); err == nil {
			err = l.field(field)
		}
		if err != nil {
			return err
		}
	}
	_, err := r.ReadToken()
	return err
}

func (r jsonReader) items(l *listing) error {
	if _, err := r.ReadToken(); err != nil {
		return err
	}
	if err := l.begin(); err != nil {
		return err
	}
	for r.PeekKind() != ']' {
		value, err := r.value()
		if err != nil {
			return err
		}
		if err := l.item(value); err != nil {
			return err
		}
	}
	_, err := r.ReadToken()
	return err
}

// value reads a value that stays as it is.
func (r jsonReader) value() ([]byte, error) {
	r.text.room = maxText
	value, err := r.ReadValue()
	return bytes.Clone(value), err
}

// explain says what is wrong with a document. YAML's flow style looks much like JSON, so what is no JSON may still be
// that: if nothing of the document has been passed on, it is read as YAML.
func (r jsonReader) explain(err error, document int, passedOn bool) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errTooLong):
		return fmt.Errorf("document %d: line %d: %w", document, r.text.line, errTooLong)
	case !errors.As(err, &syntax):
		return err
	}
	if text, ok := r.text.whole(); ok && !passedOn {
		if value, _, yamlErr := yamlToJSON(text, r.text.first-1); yamlErr == nil {
			return r.d.flow(value, document)
		}
	}
	problem := syntax.Err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		problem = "unexpected end of JSON input"
	}
	unread := r.UnreadBuffer()
	behind := min(max(int(syntax.ByteOffset-r.InputOffset()), 0), len(unread))
	line := r.text.line - bytes.Count(unread[behind:], []byte("\n"))
	return fmt.Errorf("document %d: line %d: %s", document, line, problem)
}

// flow reads a document in YAML's flow style.
func (d *streamDecoder) flow(value []byte, document int) error {
	d.documents = document
	l := d.listing()
	if err := l.object(value); err != nil {
		return err
	}
	return l.end()
}

// jsonText is the text of a document in JSON.
type jsonText struct {
	in *documentReader
	// room is how much may be read until the present value must have ended.
	room int
	// first and line are the numbers of the document's first line, and of the line up to which it has been read.
	first, line int
	// kept is the beginning of the document, until it is too long to be kept.
	kept    []byte
	tooLong bool
}

// maxFlow is how long a document in YAML's flow style may be.
const maxFlow = 1 << 20

func (t *jsonText) Read(p []byte) (int, error) {
	if t.room <= 0 {
		return 0, errTooLong
	}
	n, err := t.in.Read(p)
	t.room -= n
	t.line += bytes.Count(p[:n], []byte("\n"))
	if t.tooLong = t.tooLong || len(t.kept)+n > maxFlow; t.tooLong {
		t.kept = nil
	} else {
		t.kept = append(t.kept, p[:n]...)
	}
	return n, err
}

// whole reads the document to its end, unless it is too long.
func (t *jsonText) whole() ([]byte, bool) {
	t.room = maxFlow
	_, err := io.Copy(io.Discard, t)
	return t.kept, err == nil && !t.tooLong
}
