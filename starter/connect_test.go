package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/starter/devstack"
)

// needDatabase are command lines that read or write the database first.
var needDatabase = []string{
	"migrate", "import -f -", "restore", "status", "get devices", "describe device a",
	"reconnect device a --rendered-version 1",
	"resume device a --as alice", "withdraw device a --as alice", "cancel first --reason x --as alice",
}

func TestWithoutADatabaseEveryVerbSaysHowToNameOne(t *testing.T) {
	t.Parallel()
	for _, line := range needDatabase {
		o := runBare(t, strings.Fields(line)...)
		require.Equal(t, 1, o.code, line)
		require.Contains(t, o.stderr, "error: ", line)
		require.Contains(t, o.stderr, "ROLLCALL_DATABASE_URL", line)
		require.Contains(t, o.stderr, "starter dev", line)
		require.Empty(t, o.stdout, line)
	}
}

func TestABrokenDatabaseURLIsAnErrorThatNamesTheCause(t *testing.T) {
	t.Parallel()
	for _, line := range needDatabase {
		unreachable := runBare(t,
			append(strings.Fields(line), "--database-url", "postgres://unknown@127.0.0.1:1/none?sslmode=disable")...)
		require.Equal(t, 1, unreachable.code, line)
		require.Contains(t, unreachable.stderr, "127.0.0.1:1", line)

		broken := runBare(t, append(strings.Fields(line), "--database-url", "postgres://%zz")...)
		require.Equal(t, 1, broken.code, line)
		require.Contains(t, broken.stderr, "database", line)
	}
}

func TestTheDatabaseURLMayBeInAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "database-url")
	require.NoError(t, os.WriteFile(file, []byte(devtest.Database(t)+"\n"), 0o600))
	var stdout, stderr bytes.Buffer
	streams := testIO(&stdout, &stderr, map[string]string{devstack.EnvDatabaseURL + "_FILE": file})
	require.Zero(t, Execute(t.Context(), streams, []string{"get", "devices"}), stderr.String())
	require.NoError(t, os.Remove(file))
	require.Equal(t, 1, Execute(t.Context(), streams, []string{"get", "devices"}))
	require.Contains(t, stderr.String(), "read "+file+", which ROLLCALL_DATABASE_URL_FILE names: no such file")
}

func TestWithoutTheSchemaEveryVerbSaysToMigrate(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	for _, line := range needDatabase[1:] {
		o := runBare(t, append(strings.Fields(line), "--database-url", url)...)
		require.Equal(t, 1, o.code, line)
		require.Contains(t, o.stderr, "starter migrate", line)
	}
}

func TestMigrateSaysWhatItDid(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	first := runBare(t, "migrate", "--database-url", url)
	require.Equal(t, 0, first.code, first.stderr)
	require.Contains(t, first.stdout, "migrated the schema from version 0 to ")
	again := runBare(t, "migrate", "--database-url", url)
	require.Equal(t, 0, again.code, again.stderr)
	require.Contains(t, again.stdout, "the schema is up to date")
	require.Equal(t, 1, runBare(t, "status", "--database-url", url).code, "there is no restore")
	require.Equal(t, 0, runBare(t, "get", "devices", "--database-url", url).code)
}

// unreachable dials as host.Dial does, at an address where no one listens. A test cannot set the environment of its
// process.
func unreachable(ctx context.Context, opts host.DialOptions) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: "127.0.0.1:1", Logger: opts.Logger})
}

func TestWithoutTemporalDecisionsFailAndReadingGoesOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(device{name: "web-1", version: "5"})
	bare := func(args ...string) outcome {
		var stdout, stderr bytes.Buffer
		streams := testIO(&stdout, &stderr, map[string]string{devstack.EnvDatabaseURL: b.database(args...)})
		streams.Dial = unreachable
		return outcome{code: Execute(t.Context(), streams, args), stdout: stdout.String(), stderr: stderr.String()}
	}
	for _, line := range []string{
		"restore --id first", "reconnect device web-1 --rendered-version 7", "resume device web-1 --as alice",
		"withdraw device web-1 --force --as alice",
	} {
		o := bare(strings.Fields(line)...)
		require.Equal(t, 1, o.code, line)
		require.Contains(t, o.stderr, "127.0.0.1:1", line)
	}
	described := bare("describe", "device", "web-1")
	require.Equal(t, 0, described.code, described.stderr)
	require.Contains(t, described.stdout, "127.0.0.1:1", "it says why the story is the database's")
}

// Half of the connections must not go to the stack of the folder and half elsewhere: the error says what stands in the
// way.
func TestAVariableThatNamesAnotherPlaceIsNamed(t *testing.T) {
	dir := t.TempDir()
	lock, err := devenv.LockDir(filepath.Join(dir, devenv.DefaultDir))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lock.Unlock()) })
	require.NoError(t, devenv.WriteEnv(filepath.Join(dir, devenv.DefaultDir, devenv.EnvFile),
		[]devenv.Var{{Name: "TEMPORAL_ADDRESS", Value: "127.0.0.1:7233"}, {Name: devstack.EnvDatabaseURL, Value: "x"}}))
	t.Setenv("TEMPORAL_ADDRESS", "prod:7233")
	var stdout, stderr bytes.Buffer
	streams := testIO(&stdout, &stderr, nil)
	streams.Dir = dir
	require.Equal(t, 1, Execute(t.Context(), streams, []string{"get", "devices"}))
	require.Contains(t, stderr.String(), "TEMPORAL_ADDRESS names another place than the `starter dev` that runs in this folder")
}
