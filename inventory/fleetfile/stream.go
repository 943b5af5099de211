package fleetfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxText is how long the text of one resource may be, in bytes. No more of a file than that is held at a time.
const maxText = 16 << 20

var errTooLong = fmt.Errorf("the resource is longer than %d MB", maxText>>20)

// documentReader divides a stream into its YAML documents and reads one after the other, by lines or as an io.Reader. A
// stream of JSON is one document, which may hold several values.
type documentReader struct {
	in *bufio.Reader
	// line is the number of the line that is read next, from 1; it counts up when the line has been read to its end.
	line      int
	lineStart bool
	// carry is the beginning of the present document that has been read before: what stands on a marker's line behind the
	// marker, or the line with which start has found the document.
	carry     []byte
	carryLine int
	// ended says that the present document is over; last, that the stream is.
	ended, last bool
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func newDocumentReader(r io.Reader) *documentReader {
	in := bufio.NewReaderSize(r, 64<<10)
	if start, _ := in.Peek(len(byteOrderMark)); bytes.Equal(start, byteOrderMark) {
		_, _ = in.Discard(len(byteOrderMark))
	}
	return &documentReader{in: in, line: 1, lineStart: true}
}

// start goes to the next document that holds anything but comments and says whether it is JSON and at which line it
// begins; io.EOF after the last.
func (d *documentReader) start() (isJSON bool, line int, err error) {
	for inComment := false; ; {
		if d.ended && d.last {
			return false, 0, io.EOF
		}
		d.ended = false
		line, begins := d.line, d.lineStart
		if d.carry != nil {
			line, begins = d.carryLine, true
		}
		chunk, err := d.chunk()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return false, 0, err
		}
		text := bytes.TrimLeft(chunk, " \t\r\n")
		if begins {
			inComment = len(text) > 0 && text[0] == '#' || chunk[0] == '%'
		}
		if len(text) > 0 && !inComment {
			d.carry, d.carryLine = chunk, line
			return text[0] == '{' || text[0] == '[', line, nil
		}
	}
}

// chunk returns the next line of the document, or a part of a long one; io.EOF at its end.
func (d *documentReader) chunk() ([]byte, error) {
	if chunk := d.carry; chunk != nil {
		d.carry = nil
		return chunk, nil
	}
	if d.ended {
		return nil, io.EOF
	}
	starts, line := d.lineStart, d.line
	chunk, err := d.in.ReadSlice('\n')
	if d.lineStart = err == nil; d.lineStart {
		d.line++
	}
	if starts && isMarker(chunk) {
		d.carry, d.carryLine, d.ended = append([]byte("   "), chunk[3:]...), line, true
		return nil, io.EOF
	}
	switch {
	case errors.Is(err, io.EOF):
		d.ended, d.last = true, true
		if len(chunk) == 0 {
			return nil, io.EOF
		}
	case err != nil && !errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("read line %d: %w", d.line, err)
	}
	return chunk, nil
}

// appendLine appends the next line of the document to text; io.EOF at its end.
func (d *documentReader) appendLine(text []byte) ([]byte, error) {
	start := len(text)
	for {
		chunk, err := d.chunk()
		if err != nil {
			if errors.Is(err, io.EOF) && len(text) > start {
				return text, nil
			}
			return text, err
		}
		if text = append(text, chunk...); len(text) > maxText {
			return text, errTooLong
		}
		if text[len(text)-1] == '\n' {
			return text, nil
		}
	}
}

// Read reads from the present document only.
func (d *documentReader) Read(p []byte) (int, error) {
	chunk, err := d.chunk()
	n := copy(p, chunk)
	if n < len(chunk) {
		d.carry = chunk[n:] // it stays as it is until the next chunk is read
	}
	return n, err
}

// isMarker reports whether a line ends a YAML document. Neither marker can begin a line of JSON, nor one inside a YAML
// value.
func isMarker(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("---")) && !bytes.HasPrefix(line, []byte("...")) {
		return false
	}
	return len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0
}
