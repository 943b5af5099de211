package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/reference"
)

// TestManPages writes the pages of every command; `make package` says where to.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("ROLLCALL_MAN_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	var out bytes.Buffer
	root := newRootCommand(testIO(&out, &out, nil))
	require.NoError(t, reference.WriteManPages(root, "1", dir))
	page, err := os.ReadFile(dir + "/man1/starter-resume.1")
	require.NoError(t, err)
	require.Contains(t, string(page), "starter resume")
}

func TestReference(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	page, err := reference.Markdown(newRootCommand(testIO(&out, &out, nil)))
	require.NoError(t, err)
	require.NoError(t, reference.Check("starter.md", page))
}
