package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/reference"
)

// TestManPages writes the page of the program; `make package` says where to.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("ROLLCALL_MAN_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	p := newProgram()
	cmd := reference.Program("rollcall-"+p.Name, p.Short, p.Long, p.Flags())
	require.NoError(t, reference.WriteManPages(cmd, "8", dir))
	page, err := os.ReadFile(dir + "/man8/rollcall-worker.8")
	require.NoError(t, err)
	require.Contains(t, string(page), "metrics-listen")
}

func TestReference(t *testing.T) {
	t.Parallel()
	p := newProgram()
	page, err := reference.Markdown(reference.Program(p.Name, p.Short, p.Long, p.Flags()))
	require.NoError(t, err)
	require.NoError(t, reference.Check("worker.md", page))
}
