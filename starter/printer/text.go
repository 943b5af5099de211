package printer

import (
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/duration"

	"rollcall/runbook"
)

// None stands in a table for what is not there.
const None = "<none>"

// OneLine makes text from a database safe for a terminal: nothing in it can break a row or move the cursor.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// Ago is how long before now t was; a nil or zero time is "never".
func Ago(now time.Time, t *time.Time) string {
	if t == nil || t.IsZero() {
		return "<never>"
	}
	return duration.HumanDuration(now.Sub(*t)) + " ago"
}

// Age is how long before now t was, in the shortest form; a nil or zero time is None.
func Age(now time.Time, t *time.Time) string {
	if t == nil || t.IsZero() {
		return None
	}
	return duration.HumanDuration(now.Sub(*t))
}

// Stamp is a moment in the operator's own time zone, with the zone.
func Stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// OrNone is s, or None where it is empty.
func OrNone(s string) string {
	if s == "" {
		return None
	}
	return s
}

// Pairs writes labels as key=value, sorted by key.
func Pairs(labels map[string]string) string {
	out := make([]string, 0, len(labels))
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	sort.Strings(out)
	return strings.Join(out, ",")
}

// Count writes a number with its noun: "1 device", "2 devices".
func Count[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Command is a command line of this program that can be pasted into a shell. orgID is added where it is not the
// default.
func Command(orgID string, args ...string) string {
	if orgID != "" && orgID != runbook.DefaultOrgID {
		args = append(args, "--org", orgID)
	}
	words := make([]string, 0, len(args)+1)
	for _, arg := range append([]string{"starter"}, args...) {
		words = append(words, Quote(arg))
	}
	return strings.Join(words, " ")
}

// Quote protects a word from the shell where it needs it.
func Quote(s string) string {
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./=:@,+%", r))
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return quoteUnseen(s)
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoteUnseen writes a word with characters that a terminal would act on with escapes, as bash and zsh read them.
func quoteUnseen(s string) string {
	var b strings.Builder
	b.WriteString("$'")
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + string(r))
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String() + "'"
}
