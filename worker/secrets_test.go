package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
)

func TestPrintsNoSecret(t *testing.T) {
	t.Parallel()
	for _, broken := range devtest.BrokenSecrets(t) {
		t.Run(broken.Name, func(t *testing.T) {
			t.Parallel()
			cmd, out := worker(t, broken.Env)
			require.Error(t, cmd.Run())
			require.Contains(t, out.String(), "error: ")
			require.NotContains(t, out.String(), devtest.Secret)
		})
	}
}
