package inventory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// documentReader divides a stream into its YAML documents. A stream of JSON is one document, which may hold several values.
type documentReader struct {
	in *bufio.Reader
	// line is the number of the line that is read next, from 1.
	line int
	// carry is what stands on a marker's line behind the marker, which belongs to the next document.
	carry []byte
}

// document is a part of a stream, and the number of its first line.
type document struct {
	text []byte
	line int
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func newDocumentReader(r io.Reader) *documentReader {
	in := bufio.NewReaderSize(r, 64<<10)
	if start, _ := in.Peek(len(byteOrderMark)); bytes.Equal(start, byteOrderMark) {
		_, _ = in.Discard(len(byteOrderMark))
	}
	return &documentReader{in: in, line: 1}
}

// next reads the next document that holds anything but comments; io.EOF after the last.
func (d *documentReader) next() (document, error) {
	for {
		doc, err := d.read()
		if err != nil && !errors.Is(err, io.EOF) {
			return doc, fmt.Errorf("read line %d: %w", d.line, err)
		}
		if !blank(doc.text) {
			return doc, nil
		}
		if err != nil {
			return doc, io.EOF
		}
	}
}

// read reads up to the next marker, or to the end with io.EOF.
func (d *documentReader) read() (document, error) {
	doc := document{text: d.carry, line: d.line}
	if d.carry != nil {
		doc.line--
		d.carry = nil
	}
	lineStart := true
	for {
		chunk, err := d.in.ReadSlice('\n')
		if err == nil {
			d.line++
		}
		if lineStart && isMarker(chunk) {
			d.carry = append([]byte("   "), chunk[3:]...)
			return doc, nil
		}
		doc.text = append(doc.text, chunk...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return doc, err
		}
		lineStart = err == nil
	}
}

// isMarker tells whether a line ends a YAML document. Neither marker can begin a line of JSON, nor one inside a YAML
// value.
func isMarker(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("---")) && !bytes.HasPrefix(line, []byte("...")) {
		return false
	}
	return len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0
}

// blank tells whether a document holds nothing but comments and YAML directives.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) > 0 && trimmed[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// values are the JSON values of a document: of JSON one or several, of YAML one, translated. The values share the
// document's memory where they can.
func (d document) values() ([][]byte, error) {
	if !utf8.Valid(d.text) {
		return nil, errors.New("is not UTF-8 text; save it in that encoding first (a file that Windows PowerShell's '>' wrote is UTF-16)")
	}
	text := bytes.TrimSpace(d.text)
	if text[0] != '{' && text[0] != '[' {
		return d.yaml()
	}
	values, err := splitJSON(text)
	if err == nil {
		return values, nil
	}
	// YAML's flow style looks much like JSON, so what is no JSON may still be that.
	if translated, yamlErr := d.yaml(); yamlErr == nil {
		return translated, nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		err = fmt.Errorf("line %d: %w", d.lineAt(syntax.Offset), err)
	}
	return nil, err
}

func (d document) yaml() ([][]byte, error) {
	value, err := yamlToJSON(d.text, d.line-1)
	if err != nil {
		return nil, err
	}
	return [][]byte{value}, nil
}

// lineAt is the line of an offset in the document without the space around it.
func (d document) lineAt(offset int64) int {
	space := len(d.text) - len(bytes.TrimLeft(d.text, " \t\r\n"))
	end := min(space+int(offset), len(d.text))
	return d.line + bytes.Count(d.text[:end], []byte("\n"))
}
