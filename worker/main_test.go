package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/devenv/devtest"
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

func TestStopsGracefully(t *testing.T) {
	t.Parallel()
	server := devtest.Temporal(t)
	cmd, out := worker(t, []string{
		"ROLLCALL_DATABASE_URL=" + devtest.Database(t), "TEMPORAL_ADDRESS=" + server.Address, "TEMPORAL_NAMESPACE=" + server.Namespace,
	}, "--log-format", "json", "--task-queue", devtest.TaskQueue(t))
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Worker started") }, time.Minute, 20*time.Millisecond, out)
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
		"unknown flag":   {nil, []string{"--frobnicate"}, 2, "frobnicate"},
		"argument":       {nil, []string{"restore"}, 2, "no arguments"},
		"no database":    {[]string{"ROLLCALL_DATABASE_URL="}, nil, 1, "ROLLCALL_DATABASE_URL is not set"},
		"log format":     {nil, []string{"--log-format", "xml"}, 1, `"xml"`},
		"no such server": {[]string{"ROLLCALL_DATABASE_URL=postgres://x@127.0.0.1:1/x?sslmode=disable"}, nil, 1, "127.0.0.1:1"},
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
	require.Contains(t, out.String(), "worker dev")
}
