package devenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// `make clean` removes a cluster that is elsewhere, and nothing that a foreign hand has written into its file.
func TestCleanFollowsNoWayUp(t *testing.T) {
	t.Parallel()
	makefile, err := filepath.Abs("../../Makefile")
	require.NoError(t, err)
	bin := t.TempDir()
	// It only notes what would be removed.
	require.NoError(t, os.WriteFile(filepath.Join(bin, "rm"), []byte("#!/bin/sh\necho \"$@\" >> removed\n"), 0o755))
	const rest = "-rf bin dist .rollcall\n"
	for location, removed := range map[string]string{
		"/var/lib/rollcall/1f":            "-rf /var/lib/rollcall/1f\n" + rest,
		"/var/lib/rollcall/../../../home": rest,
		"/var/lib/rollcall/1f/../..":      rest,
		"/var/lib/rollcall/":              rest,
		"/etc":                            rest,
		"":                                rest,
	} {
		dir := t.TempDir()
		cluster := filepath.Join(dir, DefaultDir, "postgres")
		require.NoError(t, os.MkdirAll(cluster, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(cluster, locationFile), []byte(location+"\n"), 0o600))
		clean := exec.CommandContext(t.Context(), "make", "-f", makefile, "clean")
		clean.Dir = dir
		clean.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := clean.CombinedOutput()
		require.NoError(t, err, string(out))
		got, err := os.ReadFile(filepath.Join(dir, "removed"))
		require.NoError(t, err)
		require.Equal(t, removed, string(got), location)
	}
}
