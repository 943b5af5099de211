package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/internal/devenv/devtest"
)

// The gateway starts without Temporal, so that what is broken there shows in its log, and nothing ends it.
func TestPrintsNoSecret(t *testing.T) {
	t.Parallel()
	for _, broken := range devtest.BrokenSecrets(t) {
		t.Run(broken.Name, func(t *testing.T) {
			t.Parallel()
			cmd, out := gateway(t, broken.Env, "--plain-http", "--listen", "127.0.0.1:0")
			require.NoError(t, cmd.Start())
			ended := make(chan struct{})
			go func() { _ = cmd.Wait(); close(ended) }()
			defer func() { _ = cmd.Process.Kill(); <-ended }()
			require.Eventually(t, func() bool {
				return strings.Contains(out.String(), "error: ") || strings.Contains(out.String(), "Gateway started")
			}, time.Minute, 20*time.Millisecond, out)
			require.NotContains(t, out.String(), devtest.Secret)
		})
	}
}

func TestPrintsNothingOfAKeyThatItCannotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, key := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	_, err := authority.LoadOrMake(good, key)
	require.NoError(t, err)
	for _, text := range []string{
		devtest.Secret, "-----BEGIN PRIVATE KEY-----\n" + devtest.Secret + "\n-----END PRIVATE KEY-----\n",
	} {
		require.NoError(t, os.WriteFile(key, []byte(text), 0o600))
		for _, args := range [][]string{
			{"--ca-cert", good, "--ca-key", key, "--plain-http", "--listen", "127.0.0.1:0"},
			{"--cert", good, "--key", key, "--client-ca", good},
		} {
			cmd, out := gateway(t, []string{"ROLLCALL_DATABASE_URL=" + devtest.Database(t)}, args...)
			require.Error(t, cmd.Run())
			require.Contains(t, out.String(), "error: ")
			require.NotContains(t, out.String(), devtest.Secret)
		}
	}
}
