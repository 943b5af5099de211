package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

// process is the program itself, with an environment that names the bench's servers and nothing of the developer's.
func (b *bench) process(env []string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	b.t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.CommandContext(b.t.Context(), os.Args[0], args...)
	cmd.Dir = b.dir
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append([]string{
		envRunStarter + "=1", "HOME=" + b.dir, "USER=tester", "PATH=" + os.Getenv("PATH"),
		devstack.EnvDatabaseURL + "=" + b.database(args...), devstack.EnvTaskQueue + "=" + b.queue,
		"TEMPORAL_ADDRESS=" + b.server.Address, "TEMPORAL_NAMESPACE=" + b.server.Namespace,
	}, env...)
	return cmd, stdout, stderr
}

func (b *bench) exec(env []string, args ...string) outcome {
	b.t.Helper()
	cmd, stdout, stderr := b.process(env, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(b.t, err)
	}
	return outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

func TestTheProgramFindsItsServersByTheEnvironment(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	o := b.exec(nil, "restore", "--id", "first")
	require.Equal(t, 0, o.code, o.stderr)
	require.Equal(t, 0, b.exec(nil, "reconnect", "device", "web-1", "--rendered-version", "7").code)
	b.until("web-1", runbook.StateConflictPaused)
	require.Equal(t, 4, b.exec(nil, "resume", "device", "web-1", "--expect-version", "6").code)
	require.Equal(t, 2, b.exec(nil, "resume", "devices").code)
	o = b.exec(nil, "resume", "device/web-1")
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, b.ok("describe", "device", "web-1"), "tester", "the operator is $USER")
	require.Equal(t, 3, b.exec(nil, "resume", "device/web-1").code)

	o = b.exec([]string{"TEMPORAL_ADDRESS=127.0.0.1:1"}, "resume", "device/web-1")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "127.0.0.1:1")
	require.Contains(t, o.stderr, "TEMPORAL_ADDRESS", "it says what to do")
}

func TestCtrlCEndsTheWatchingAndNotTheRestore(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	cmd, _, stderr := b.process(nil, "restore", "--id", "first", "--wait")
	require.NoError(t, cmd.Start())
	b.until("web-1", runbook.StateAwaitingReconnect)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		require.Error(t, err)
	case <-time.After(2 * time.Minute):
		require.Fail(t, "the program does not end")
	}
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), stderr)
	require.Contains(t, stderr.String(), "restore first goes on")
	require.Equal(t, runbook.RestoreRunning, b.tally("first").State)
}

// An import ends on SIGTERM while its input is silent, and while more and more of it comes. It has imported nothing.
func TestAnImportEndsWhateverItsInputDoes(t *testing.T) {
	t.Parallel()
	const endless = math.MaxInt
	for name, documents := range map[string]int{"silent": 0, "silent after three devices": 3, "endless": endless} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newTemporalBench(t)
			cmd, stdout, stderr := b.process(nil, "import", "-f", "-")
			input, output, err := os.Pipe()
			require.NoError(t, err)
			defer output.Close()
			cmd.Stdin = input
			require.NoError(t, cmd.Start())
			require.NoError(t, input.Close())
			ended := make(chan struct{})
			go func() { _ = cmd.Wait(); close(ended) }()
			defer func() { _ = cmd.Process.Kill(); <-ended }()
			var written atomic.Int64
			go func() {
				for i := range documents {
					n, err := io.WriteString(output, device{name: fmt.Sprintf("web-%d", i), version: "5"}.document()+"---\n")
					if err != nil {
						return // the program has ended
					}
					written.Add(int64(n))
				}
			}()
			require.Eventually(t, func() bool {
				if documents == endless {
					return written.Load() > 1<<20 // which is more than a pipe and the program's buffers hold
				}
				return b.waitsInTransaction()
			}, 2*time.Minute, 20*time.Millisecond, "the import does not read: %s", stderr)

			signalled := time.Now()
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				require.Fail(t, "the import does not end")
			}
			t.Logf("the import ended %s after SIGTERM: %s", time.Since(signalled).Round(time.Millisecond), stderr)
			require.Equal(t, printer.ExitFailed, cmd.ProcessState.ExitCode(), stderr)
			require.Contains(t, stderr.String(), "error: import -: ")
			require.Empty(t, stdout.String())
			require.Empty(t, b.ok("get", "devices", "-o", "name"))
		})
	}
}

// A named pipe that no one writes to cannot be opened.
func TestAnImportEndsWhileItOpensAPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	streams := testIO(&stdout, &stderr, nil)
	ended := make(chan int, 1)
	go func() { ended <- Execute(ctx, streams, []string{"import", "-f", pipe}) }()
	cancel()
	select {
	case code := <-ended:
		require.Equal(t, printer.ExitFailed, code, stderr)
		require.Contains(t, stderr.String(), "error: read the file to import: open "+pipe+": context canceled")
	case <-time.After(10 * time.Second):
		require.Fail(t, "the import does not end")
	}
}

// waitsInTransaction reports whether a program has asked the database nothing for a while, within a transaction.
func (b *bench) waitsInTransaction() (waits bool) {
	err := b.store.DB().GetContext(b.t.Context(), &waits, `select exists (
		select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'
			and state_change < clock_timestamp() - interval '300 milliseconds')`)
	return err == nil && waits
}

func TestShellsCompleteKindsAndNames(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	require.Contains(t, b.ok("__complete", "resume", ""), "device\n")
	names := b.ok("__complete", "describe", "device", "")
	require.Contains(t, names, "web-1\nweb-2\n")
	require.Contains(t, b.ok("__complete", "get", "-o", ""), "wide\n")
	bare := runBare(t, "__complete", "describe", "device", "")
	require.Equal(t, 0, bare.code)
	require.False(t, strings.Contains(bare.stdout, "error"), "what cannot be completed is silent: %s", bare.stdout)
}
