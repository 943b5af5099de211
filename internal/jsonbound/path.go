package jsonbound

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxName and maxPath bound what of a document's names an error repeats, in bytes.
const (
	maxName = 64
	maxPath = 256
)

var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// path writes where the decoder stands, as in spec.config[3]["example.com/site"].
func path(d *jsontext.Decoder) string { return pathOf(d, d.StackPointer()) }

// pathOf writes a pointer to what the decoder reads, or to what encloses it.
func pathOf(d *jsontext.Decoder, pointer jsontext.Pointer) string {
	var b strings.Builder
	depth := 0
	for token := range pointer.Tokens() {
		depth++
		switch kind, _ := d.StackIndex(depth); {
		case kind == '[':
			b.WriteString("[" + token + "]")
		default:
			b.WriteString(Member(token))
		}
		if b.Len() > maxPath {
			b.WriteString("…")
			break
		}
	}
	return strings.TrimPrefix(b.String(), ".")
}

// Member writes a field's name as the end of a path: .site, or ["example.com/site"]. A long name is cut.
func Member(name string) string {
	name = cut(name)
	if plainName.MatchString(name) {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}

func cut(name string) string {
	if len(name) <= maxName {
		return name
	}
	end := maxName
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + "…"
}
