package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
)

// asWorker makes the test binary behave as the worker, for subprocesses.
const asWorker = "ROLLCALL_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		main()
		return
	}
	devtest.Main(m)
}

// worker is a worker process.
func worker(t *testing.T, env []string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), append(env, asWorker+"=1")...)
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// The database's URL comes from a file, as with systemd's credentials, and the worker is its own health check.
func TestStopsGracefully(t *testing.T) {
	t.Parallel()
	server := devtest.Temporal(t)
	secret := filepath.Join(t.TempDir(), "database-url")
	require.NoError(t, os.WriteFile(secret, []byte(devtest.Database(t)+"\n"), 0o600))
	cmd, out := worker(t, []string{
		"ROLLCALL_DATABASE_URL_FILE=" + secret, "ROLLCALL_METRICS_LISTEN=127.0.0.1:0", "TEMPORAL_ADDRESS=" + server.Address,
		"TEMPORAL_NAMESPACE=" + server.Namespace,
	}, "--log-format", "json", "--task-queue", devtest.TaskQueue(t))
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		return strings.Contains(out.String(), "Worker started")
	}, time.Minute, 20*time.Millisecond, out)
	address := regexp.MustCompile(`"address":"(127[^"]+)"`).FindStringSubmatch(out.String())
	require.NotEmpty(t, address, out)
	check, said := worker(t, nil, "--healthcheck", "--metrics-listen", address[1])
	require.NoError(t, check.Run(), said)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), out)
	require.Contains(t, out.String(), `"msg":"Worker stopped"`)
}

func TestComplainsClearly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env  []string
		args []string
		code int
		says string
	}{
		"unknown flag": {nil, []string{"--frobnicate"}, 2, "frobnicate"},
		"argument":     {nil, []string{"restore"}, 2, "no arguments"},
		"no database":  {[]string{"ROLLCALL_DATABASE_URL="}, nil, 1, "ROLLCALL_DATABASE_URL is not set"},
		"no such file": {
			[]string{"ROLLCALL_DATABASE_URL_FILE=/none"},
			nil, 1,
			"read /none, which ROLLCALL_DATABASE_URL_FILE names: no such file",
		},
		"nothing to ask": {nil, []string{"--healthcheck"}, 1, "--metrics-listen"},
		"not healthy":    {nil, []string{"--healthcheck", "--metrics-listen", ":1"}, 1, "127.0.0.1:1"},
		"log format":     {nil, []string{"--log-format", "xml"}, 1, `"xml"`},
		"no such server": {
			[]string{"ROLLCALL_DATABASE_URL=postgres://x@127.0.0.1:1/x?sslmode=disable"}, nil, 1, "127.0.0.1:1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, out := worker(t, tc.env, tc.args...)
			var exit *exec.ExitError
			require.ErrorAs(t, cmd.Run(), &exit)
			require.Equal(t, tc.code, exit.ExitCode(), out)
			require.Contains(t, out.String(), tc.says)
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	cmd, out := worker(t, nil, "--version")
	require.NoError(t, cmd.Run())
	require.Regexp(t, `^worker \S+ \(commit .+, of .+, go1`, out.String())
}

// A production process takes its settings from its environment only, wherever it is started.
func TestDoesNotLookIntoTheWorkingDirectory(t *testing.T) {
	t.Parallel()
	cmd, out := worker(t, []string{"ROLLCALL_DATABASE_URL="})
	lock, err := devenv.LockDir(filepath.Join(cmd.Dir, devenv.DefaultDir))
	require.NoError(t, err)
	defer func() { require.NoError(t, lock.Unlock()) }()
	env := filepath.Join(cmd.Dir, devenv.DefaultDir, devenv.EnvFile)
	require.NoError(t, devenv.WriteEnv(env, []devenv.Var{{Name: "ROLLCALL_LOG_FORMAT", Value: "xml"}}))
	require.Error(t, cmd.Run())
	require.Contains(t, out.String(), "ROLLCALL_DATABASE_URL is not set")
	require.NotContains(t, out.String(), "xml")
}
