package prose

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	// file is a path of the repository: a Go file, with or without its folder, or a folder.
	file = regexp.MustCompile(`^[a-z][\w/-]*(\.go|\.md|\.yaml|/)$`)
)

// missing are the files that a page names and that are not there. A bare name is one in the folder named before it, or
// anywhere.
func missing(t *testing.T, page, text string) (names []string) {
	t.Helper()
	for _, match := range quoted.FindAllStringSubmatch(text, -1) {
		name := match[1]
		if !file.MatchString(name) {
			continue
		}
		found := []string{}
		for _, pattern := range []string{name, "*/" + name, "*/*/" + name, "*/*/*/" + name} {
			at, err := filepath.Glob(filepath.Join(root, pattern))
			require.NoError(t, err)
			if found = append(found, at...); strings.Contains(name, "/") {
				break // it says where it is
			}
		}
		if len(found) == 0 {
			names = append(names, path.Join("docs", page)+" names "+name)
		}
	}
	return names
}

func TestTheDocsNameFilesThatExist(t *testing.T) {
	t.Parallel()
	wrong := "see `runbook/nothing.go` and `nothing.go`, not `go test` or `runbook/rules.go`, `rules.go`"
	require.Len(t, missing(t, "a.md", wrong), 2)
	var all []string
	for _, page := range []string{
		"architecture.md",
		"decisions/010-the-watch-believes-no-version-in-a-row.md",
		"decisions/011-a-posted-key-never-becomes-the-known-one.md",
	} {
		text, err := os.ReadFile(filepath.Join(root, "docs", page))
		require.NoError(t, err)
		all = append(all, missing(t, page, string(text))...)
	}
	require.Empty(t, all)
}
