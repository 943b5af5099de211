package devenv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What ReadEnv takes, WriteEnv writes in such a way that it reads the same.
func FuzzReadEnv(f *testing.F) {
	for _, text := range []string{
		"", "export A='b'\n", "export A='it'\\''s'\nexport B=''\n", "A=b", "export A='b", "export ='\n'\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), EnvFile)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		vars, err := ReadEnv(path)
		if err != nil {
			return
		}
		require.NoError(t, WriteEnv(path, vars))
		again, err := ReadEnv(path)
		require.NoError(t, err)
		require.Equal(t, vars, again)
	})
}
