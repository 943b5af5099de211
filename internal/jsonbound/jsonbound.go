// Package jsonbound refuses JSON that is small as text and large to whoever stores it, in the gateway and in an import
// alike: PostgreSQL writes every digit of 1e131071, and a thousand of those are 131 MB.
package jsonbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of one JSON value.
const (
	// MaxDigits is how many digits a number may be written with, its exponent not counted.
	MaxDigits = 64
	// MaxExponent is how far from zero the exponent of a number may be.
	MaxExponent = 400
	// MaxKeys is how many fields all objects of the value may have together.
	MaxKeys = 5000
	// MaxDepth is how many objects and lists may enclose each other.
	MaxDepth = 64
)

// Kinds of an Error that errors.Is finds. Any other Error is a bound, or a field that stands twice.
var (
	// ErrSyntax is for a text that is not one JSON value in UTF-8; its bounds are not looked at.
	ErrSyntax = errors.New("not valid JSON")
	// ErrNUL is for a value that holds a NUL and is within all bounds.
	ErrNUL = errors.New("holds a NUL")
)

// Error says what in a value is refused. It never holds a value of the document, and of a long path only its start.
type Error struct {
	// Path leads to the place, as in spec.config[3]["example.com/site"]; empty is the value itself.
	Path string
	// Problem is what is wrong there.
	Problem string
	kind    error
}

// Error is the path and the problem.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// Is reports whether the error is of the kind target.
func (e *Error) Is(target error) bool { return target != nil && target == e.kind }

// Check reads one JSON value, a request's body or a resource of a file, and returns how many bytes PostgreSQL prints
// for it at most. The caller bounds that number, since a list of 1e400 is 80 times as long in PostgreSQL as in JSON.
// The error is an *Error where the value is beyond a bound of this package, holds a NUL (no jsonb can), names a field
// of an object twice, is not UTF-8, or is not one JSON value. A value with a NUL is read to its end, so that ErrNUL
// says that nothing else is wrong, and printed is its length then, too. Check holds no copy of value and takes time in
// proportion to its length.
func Check(value []byte) (printed int64, err error) {
	c := checker{decoder: jsontext.NewDecoder(bytes.NewBuffer(value))}
	return c.check()
}

// CheckPrinted is Check for a value of which PostgreSQL has printed a part, with all digits of its numbers. These may
// be many.
func CheckPrinted(value []byte) (printed int64, err error) {
	c := checker{decoder: jsontext.NewDecoder(bytes.NewBuffer(value)), anyDigits: true}
	return c.check()
}

func (c *checker) check() (printed int64, err error) {
	for {
		token, err := c.decoder.ReadToken()
		if err != nil {
			return 0, c.syntaxError(err)
		}
		if problem := c.token(token); problem != "" {
			return 0, &Error{Path: path(c.decoder), Problem: problem}
		}
		if c.decoder.StackDepth() == 0 {
			break
		}
	}
	if _, err := c.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return 0, &Error{Problem: "there is more text behind the JSON value", kind: ErrSyntax}
	}
	if c.nul != nil {
		return c.printed, c.nul
	}
	return c.printed, nil
}

type checker struct {
	decoder *jsontext.Decoder
	printed int64
	keys    int
	// anyDigits lets numbers of any length pass.
	anyDigits bool
	// nul is the first NUL of the value.
	nul *Error
}

// separator is the most that PostgreSQL prints between two tokens.
const separator = len(", ")

// token counts a token and says what is wrong with it, if anything is.
func (c *checker) token(token jsontext.Token) string {
	c.printed += int64(separator)
	switch token.Kind() {
	case '{', '[':
		c.printed++
		if c.decoder.StackDepth() > MaxDepth {
			return fmt.Sprintf("there are more than %d levels of objects and lists", MaxDepth)
		}
	case '"':
		text := token.String()
		c.printed += printedString(text)
		if c.nul == nil && strings.IndexByte(text, 0) >= 0 {
			c.nul = &Error{
				Path: path(c.decoder), Problem: "holds a NUL character (\\u0000), which the database cannot store", kind: ErrNUL,
			}
		}
		return c.key()
	case '0':
		size, digits, problem := number(token.String())
		c.printed += size
		if digits > MaxDigits && !c.anyDigits {
			return fmt.Sprintf("the number has more than %d digits", MaxDigits)
		}
		return problem
	default:
		c.printed += int64(len("false"))
	}
	return ""
}

// key counts the string that was read last, if it names a field.
func (c *checker) key() string {
	kind, n := c.decoder.StackIndex(c.decoder.StackDepth())
	if kind != '{' || n%2 == 0 {
		return ""
	}
	if c.keys++; c.keys > MaxKeys {
		return fmt.Sprintf("there are more than %d fields in the document", MaxKeys)
	}
	return ""
}

// number returns how long PostgreSQL prints a number at most, and how many digits it is written with.
func number(text string) (size int64, digits int, problem string) {
	mantissa, exponent, found := strings.Cut(strings.ToLower(text), "e")
	digits = len(strings.TrimPrefix(strings.Replace(mantissa, ".", "", 1), "-"))
	size = int64(len(mantissa) + len("0."))
	if !found {
		return size, digits, ""
	}
	n, err := strconv.Atoi(exponent)
	if err != nil || n > MaxExponent || n < -MaxExponent {
		return 0, digits, fmt.Sprintf("the number's exponent is beyond %d", MaxExponent)
	}
	return size + int64(max(n, -n)), digits, ""
}

// printedString is the length of a string as jsonb prints it: quotes, and escapes for quotes, backslashes and control
// characters.
func printedString(text string) int64 {
	size := len(`""`) + len(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			size++
		case c < ' ':
			size += len(`\u0000`) - 1
		}
	}
	return int64(size)
}

func (c *checker) syntaxError(err error) error {
	at := path(c.decoder)
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Path: at, Problem: "unexpected end of JSON input", kind: ErrSyntax}
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntactic):
		parent := pathOf(c.decoder, c.decoder.StackPointer().Parent())
		return &Error{
			Path: parent, Problem: fmt.Sprintf("the field %q stands there twice", cut(syntactic.JSONPointer.LastToken())),
		}
	case errors.As(err, &syntactic):
		return &Error{Path: at, Problem: syntactic.Err.Error(), kind: ErrSyntax}
	default:
		return &Error{Path: at, Problem: err.Error(), kind: ErrSyntax}
	}
}
