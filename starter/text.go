package main

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/duration"

	"rollcall/runbook"
)

const none = "<none>"

// table writes rows under headers, in columns as kubectl draws them.
func table(w io.Writer, headers []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, row := range append([][]string{headers}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = oneLine(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t "))
	}
	return tw.Flush()
}

// oneLine makes text from a database safe for a terminal: nothing in it can break a row or move the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// ago is how long before now t was; a nil or zero time is "never".
func ago(now time.Time, t *time.Time) string {
	if t == nil || t.IsZero() {
		return "<never>"
	}
	return duration.HumanDuration(now.Sub(*t)) + " ago"
}

// stamp is a moment in the operator's own time zone, with the zone.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

// pairs writes labels as key=value, sorted by key.
func pairs(labels map[string]string) string {
	out := make([]string, 0, len(labels))
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	sort.Strings(out)
	return strings.Join(out, ",")
}

// count writes a number with its noun: "1 device", "2 devices".
func count[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// command is a command line of this program that can be pasted into a shell. orgID is added where it is not the default.
func command(orgID string, args ...string) string {
	if orgID != "" && orgID != runbook.DefaultOrgID {
		args = append(args, "--org", orgID)
	}
	words := make([]string, 0, len(args)+1)
	for _, arg := range append([]string{"starter"}, args...) {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// quote protects a word from the shell where it needs it.
func quote(s string) string {
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./=:@,+%", r))
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
