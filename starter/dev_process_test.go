package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
)

const (
	// devStartLimit and devEndLimit are generous: other tests run beside these.
	devStartLimit = 2 * time.Minute
	devEndLimit   = time.Minute
)

// passableDir is a temporary directory that PostgreSQL's user can pass through; t.TempDir's is closed to it.
func passableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rollcall-dev-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o711))
	return dir
}

// program is the starter as a process of its own, in dir and without the variables of whoever runs the tests.
func program(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	temporal, err := devenv.FindTemporal()
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Dir = dir
	cmd.Env = []string{
		envRunStarter + "=1", "HOME=" + t.TempDir(), "USER=tester", "TMPDIR=" + dir,
		"PATH=" + filepath.Dir(temporal) + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	return cmd
}

// runProgram runs it to its end, which must be a good one, and returns what it printed.
func runProgram(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := program(t, dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "starter %v: %s", args, &stderr)
	return string(out)
}

// devProcess is a running `starter dev`.
type devProcess struct {
	cmd    *exec.Cmd
	output *lockedBuffer
	done   chan struct{}
}

// startDev starts `starter dev` in dir, with further flags, and waits until it is up.
func startDev(t *testing.T, dir string, flags ...string) *devProcess {
	t.Helper()
	args := append([]string{"dev", "--port", "0", "--ui-port", "0", "--gateway-port", "0"}, flags...)
	cmd := program(t, dir, args...)
	p := &devProcess{cmd: cmd, output: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	// A descendant that were left with our pipe in its hands must not keep the test from noticing the process's end.
	p.cmd.WaitDelay = time.Second
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // has ended already where all went well
		<-p.done
	})
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its exit code is in ProcessState
	}()
	require.Eventually(t, func() bool { return strings.Contains(p.output.String(), "Rollcall is up") || p.ended() },
		devStartLimit, 20*time.Millisecond, "starter dev does not come up")
	require.False(t, p.ended(), "starter dev ended at once: %s", p.output)
	return p
}

func (p *devProcess) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end signals the process and waits until it and its descendants are gone. It returns the exit code, -1 for a signal's.
func (p *devProcess) end(t *testing.T, signal os.Signal) int {
	t.Helper()
	family := descendants(t, p.cmd.Process.Pid)
	require.GreaterOrEqual(t, len(family), 2, "PostgreSQL and Temporal should run")
	require.NoError(t, p.cmd.Process.Signal(signal))
	return p.awaitEnd(t, family)
}

func (p *devProcess) awaitEnd(t *testing.T, family []int) int {
	t.Helper()
	require.Eventually(t, p.ended, devEndLimit, 20*time.Millisecond, "starter dev does not end: %s", p.output)
	require.Eventually(t, func() bool { return len(alive(family)) == 0 }, devEndLimit, 20*time.Millisecond,
		"starter dev left processes behind")
	return p.cmd.ProcessState.ExitCode()
}

// descendants are the processes that pid has started, and those that they have.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	require.NoError(t, err)
	var found []int
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that has ended meanwhile
		}
		for _, word := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(word)
			require.NoError(t, err)
			found = append(append(found, child), descendants(t, child)...)
		}
	}
	return found
}

// alive are those processes that still run. One that has ended and was not waited for does not.
func alive(pids []int) []int {
	var left []int
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
			left = append(left, pid)
		}
	}
	return left
}

// lockedBuffer can be read while a process writes to it.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
