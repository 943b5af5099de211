// Package prose holds code and docs to plain words and to lines that fit: 120 columns in Go, 100 in docs.
package prose

import (
	"bufio"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// words are those that plain English says otherwise, and how.
var words = map[string]string{
	"nobody": "no one, or the passive", "somebody": "someone, or a name", "anybody": "anyone", "whom": "who",
	"anew": "again", "thereof": "of it", "wherein": "in which", "whereby": "by which", "whosoever": "whoever",
	"hitherto": "until now", "heretofore": "until now", "hereby": "leave it out", "tells whether": "reports whether",
}

var (
	forbidden = regexp.MustCompile(`(?i)\b(` + strings.Join(slices.Sorted(maps.Keys(words)), "|") + `)\b`)
	// long are lines of docs that cannot be broken: rows of tables, what a command prints, and lines that are little
	// but a link.
	long = regexp.MustCompile(`^\s*\||^ {4}|^\s*(-|\d+\.)?\s*\S*\]?\(?https?://\S+$|^\[[^]]+\]: `)
)

// exempt is what the words may stand for: the name of a user of Unix, or of a task queue or device in a test, and
// net/http's name of an empty body.
var exempt = regexp.MustCompile(`\\?"nobody\\?"|http\.NoBody`)

// unbroken reports whether a line of Go cannot be broken: a test holds a document or a text in a raw string of one
// line, or a table of strings that are printed.
func unbroken(name, line string) bool {
	return strings.HasSuffix(name, "_test.go") && (strings.Contains(line, "`") || document.MatchString(line))
}

// document are lines in a raw string of a test: JSON, and what a command prints.
var document = regexp.MustCompile(`^\s*(\{?"\w+":|"get devices .*\\n",$)`)

// complaints says what is wrong with the lines of a file.
func complaints(name, text string) (all []string) {
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if word := strings.ToLower(forbidden.FindString(exempt.ReplaceAllString(line, ""))); word != "" {
			all = append(all, fmt.Sprintf("%s:%d: %q: say %s", name, n, word, words[word]))
		}
		most := 120
		if strings.HasSuffix(name, ".md") {
			most = 100
			if long.MatchString(line) {
				continue
			}
		}
		if unbroken(name, line) {
			continue
		}
		if columns := utf8.RuneCountInString(line); columns > most {
			all = append(all, fmt.Sprintf("%s:%d: %d columns; the most is %d", name, n, columns, most))
		}
	}
	return all
}

func TestComplaints(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"// Nobody knows.":                    `a.go:1: "nobody": say no one, or the passive`,
		"// Less tells whether a is smaller.": `a.go:1: "tells whether": say reports whether`,
		"// renewed, who, body":               "",
		"//" + strings.Repeat("ä", 118):       "",
		"//" + strings.Repeat("a", 119):       "a.go:1: 121 columns; the most is 120",
	} {
		require.Equal(t, want, strings.Join(complaints("a.go", line), "\n"), line)
	}
	require.Len(t, complaints("a_test.go", strings.Repeat("a", 121)), 1)
	require.Empty(t, complaints("a_test.go", "`"+strings.Repeat("a", 121)+"`"), "a document in a test")
	require.Empty(t, complaints("a.go", `user := "nobody"`), "a name")
	require.Len(t, complaints("a.md", strings.Repeat("a ", 51)), 1)
	require.Empty(t, complaints("a.md", "| "+strings.Repeat("a ", 51)+"|"), "a row of a table")
	require.Empty(t, complaints("a.md", "- [a](https://example.com/"+strings.Repeat("a", 100)+")"), "a link")
	require.Len(t, complaints("a.md", "| whom |"), 1)
}

func TestProse(t *testing.T) {
	t.Parallel()
	var wrong []string
	for _, name := range files(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		wrong = append(wrong, complaints(name, string(text))...)
	}
	require.Empty(t, wrong)
}

// files are the Go files and the docs of the repository, those of its tools too.
func files(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		skipped := strings.HasPrefix(name, ".") || slices.Contains([]string{"testdata", "bin", "dist"}, name)
		if entry.IsDir() && path != root && skipped {
			return fs.SkipDir
		}
		relative, err := filepath.Rel(root, path)
		relative = filepath.ToSlash(relative)
		// The one quotes the words, the others are generated.
		if err != nil || name == "prose_test.go" || strings.HasPrefix(relative, "docs/reference/") {
			return err
		}
		if strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".md") {
			all = append(all, relative)
		}
		return nil
	})
	require.NoError(t, err)
	require.Contains(t, all, "docs/architecture.md")
	require.NotEmpty(t, all)
	return all
}
