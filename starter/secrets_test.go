package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"rollcall/flightctl/fake"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/invariants"
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

			check := program(t, dir, "check")
			check.Env = append(check.Env, broken.Env...)
			out, err = check.CombinedOutput()
			require.Error(t, err)
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

// Flight Control refuses our token and its key-value store is away, so that watch and activities fail with what these
// say. Nothing that is printed, stored or shown holds the token or the password, and each command says what fails.
func TestShowsNoSecretWhereFlightControlFails(t *testing.T) {
	t.Parallel()
	b, control, _ := enrollingBeside(t)
	cfg := control.Client()
	token, err := cfg.Token.Read()
	require.NoError(t, err)
	password, err := cfg.StorePassword.Read()
	require.NoError(t, err)
	secrets := []string{token, password}
	for _, secret := range secrets {
		require.GreaterOrEqual(t, len(secret), invariants.LeastSecret)
	}
	control.SetUser("another token", "admin", fake.RoleAdmin)
	control.StopStore()

	var printed strings.Builder
	run := func(args ...string) outcome {
		o := b.run(args...)
		printed.WriteString(o.stdout + o.stderr)
		return o
	}
	require.Eventually(t, func() bool {
		return strings.Contains(run("status").stdout, "not everything can be done")
	}, 2*time.Minute, 100*time.Millisecond)
	require.Contains(t, run("explain", "device", "web-1").stdout, "not everything can be done")
	require.Eventually(t, func() bool {
		o := run("approve", "er/er-1", "--reason", "ticket 7", "--request-id", "one", "--timeout", "2s")
		return o.code == 4 && strings.Contains(o.stdout, "failed last with: approve er-1: Flight Control: token not accepted")
	}, 2*time.Minute, 100*time.Millisecond)
	run("describe", "er", "er-1")
	run("describe", "device", "web-1", "-o", "json")
	run("fsck", "--settle", "0s")
	for _, secret := range secrets {
		require.NotContains(t, printed.String(), secret)
	}

	checker := invariants.Checker{DB: b.store.DB(), Temporal: b.client, Secrets: secrets}
	found, err := checker.Secret(t.Context())
	require.NoError(t, err)
	require.Empty(t, found)
	var histories int
	page, err := b.client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{})
	require.NoError(t, err)
	for _, w := range page.GetExecutions() {
		holds, err := checker.HistoryHolds(t.Context(), w.GetExecution(), secrets)
		require.NoError(t, err)
		require.False(t, holds, w.GetExecution().GetWorkflowId())
		histories++
	}
	require.GreaterOrEqual(t, histories, 3, "the restore, a device and a request")
}
