package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/starter/devstack"
)

func TestPrintsNoSecret(t *testing.T) {
	t.Parallel()
	for _, broken := range devtest.BrokenSecrets(t) {
		t.Run(broken.Name, func(t *testing.T) {
			t.Parallel()
			dir := passableDir(t)
			cmd := program(t, dir, "resume", "device", "web-7", "--reason", "checked on site")
			cmd.Env = append(cmd.Env, broken.Env...)
			out, err := cmd.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), "error: ")
			require.NotContains(t, string(out), devtest.Secret)

			url, ok := strings.CutPrefix(broken.Env[0], devstack.EnvDatabaseURL+"=")
			if !ok {
				return
			}
			for _, verb := range []string{"status", "migrate"} {
				out, err := program(t, dir, verb, "--database-url", url).CombinedOutput()
				require.Error(t, err)
				require.NotContains(t, string(out), devtest.Secret)
			}
		})
	}
}
