package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
)

const (
	// blockLimit is how long a block of commands may take, and awaitLimit how long a device may take to come into a
	// state. Many tests may run beside this one.
	blockLimit = 5 * time.Minute
	awaitLimit = 5 * time.Minute
)

// TestTheCommandsOfTheDocs runs what a newcomer is told to type, in its order and beside what `make run` runs.
func TestTheCommandsOfTheDocs(t *testing.T) {
	if testing.Short() {
		t.Skip("it plays a night for each page")
	}
	for _, needed := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skipf("the docs use %s: %v", needed, err)
		}
	}
	for _, page := range []string{"README.md", "docs/tutorial.md"} {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", page))
			require.NoError(t, err)
			blocks, err := blocksOf(string(text))
			require.NoError(t, err)
			newReader(t).follow(page, blocks)
		})
	}
}

// reader is someone who sits in the folder of the repository, with `make run` in another terminal.
type reader struct {
	t   *testing.T
	dir string
	dev *devProcess
}

// newReader makes a folder with what the docs find in the repository's, and starts there what `make run` starts, on
// ports of its own.
func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, dir: passableDir(t)}
	require.NoError(t, os.CopyFS(filepath.Join(r.dir, "examples"), os.DirFS("../examples")))
	self, err := os.Executable()
	require.NoError(t, err)
	temporal, err := devenv.FindTemporal()
	require.NoError(t, err)
	bin := filepath.Join(r.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	require.NoError(t, os.Symlink(temporal, filepath.Join(bin, "temporal")))
	starter := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", envRunStarter, self)
	require.NoError(t, os.WriteFile(filepath.Join(bin, "starter"), []byte(starter), 0o755))
	r.dev = startDev(t, r.dir, "--demo", "examples")
	return r
}

// follow runs the blocks of a page, one after the other.
func (r *reader) follow(page string, blocks []block) {
	r.t.Helper()
	ran := 0
	for _, b := range blocks {
		if b.notRun != "" {
			r.t.Logf("%s:%d is not run: %s", page, b.line, b.notRun)
			continue
		}
		r.await(b)
		if out, err := r.bash(b.script, blockLimit); err != nil {
			require.NoError(r.t, err, "%s:%d\n%s\nmake run said:\n%s", page, b.line, out, r.dev.output)
		}
		ran++
	}
	require.Greater(r.t, ran, 5, "the page has commands")
	require.Equal(r.t, 0, r.dev.end(r.t, syscall.SIGINT), "Ctrl-C ends `make run`: %s", r.dev.output)
}

// await waits until the device that a block is about is in its state.
func (r *reader) await(b block) {
	r.t.Helper()
	if b.device == "" {
		return
	}
	selector := fmt.Sprintf("metadata.name=%s,status.summary.status=%s", b.device, b.state)
	look := fmt.Sprintf("bin/starter get devices --field-selector=%s -o name", selector)
	var last string
	require.Eventually(r.t, func() bool {
		out, err := r.bash(look, blockLimit)
		last = out
		return err == nil && strings.Contains(out, "device/"+b.device)
	}, awaitLimit, time.Second, "device %s does not become %s: %s", b.device, b.state, &last)
}

// bash runs a script as the reader's shell does: the variables that it exports are those of the next. Unlike there, the
// first command that fails ends it.
func (r *reader) bash(script string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	const before, after = "set -e -o pipefail\n[ ! -e .exported ] || . ./.exported\n", "\nexport -p > .exported\n"
	cmd := exec.CommandContext(ctx, "bash", "-c", before+script+after)
	cmd.Dir = r.dir
	cmd.Env = []string{"HOME=" + r.dir, "USER=tester", "TMPDIR=" + r.dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
