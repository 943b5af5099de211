package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
	"rollcall/starter/printer"
)

func TestDevLeavesNothingRunningAndKeepsItsData(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			dir := passableDir(t)
			fleet, err := filepath.Abs("../examples/fleet.yaml")
			require.NoError(t, err)

			// Given a restore that runs,
			dev := startDev(t, dir)
			runProgram(t, dir, "import", "-f", fleet)
			runProgram(t, dir, "restore", "--id", "night")
			require.Contains(t, runProgram(t, dir, "status", "-o", "json"), `"total": 60`)

			// when the process ends,
			code := dev.end(t, signal)
			_, err = os.Stat(filepath.Join(dir, ".rollcall", devenv.EnvFile))
			if signal == syscall.SIGTERM {
				require.Equal(t, printer.ExitOK, code, dev.output)
				require.ErrorIs(t, err, os.ErrNotExist)
			}

			// then the next one goes on with it.
			next := startDev(t, dir)
			runProgram(t, dir, "reconnect", "device", "store-berlin-01", "--rendered-version", "12")
			require.Eventually(t, func() bool {
				return strings.Contains(runProgram(t, dir, "status", "-o", "json"), `"Normal": 1`)
			},
				devStartLimit, 50*time.Millisecond)
			require.Equal(t, printer.ExitOK, next.end(t, syscall.SIGTERM), next.output)
		})
	}
}

func TestDevTellsTheTemporalCommandWhereItIs(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	dev := startDev(t, dir)
	sh := program(t, dir)
	sh.Path, sh.Args = "/bin/sh", []string{
		"sh", "-c",
		`. .rollcall/env && temporal operator search-attribute list && echo "$ROLLCALL_UI_URL" && echo "$ROLLCALL_DATABASE_URL"`,
	}
	out, err := sh.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "DeviceStatus")
	require.Contains(t, string(out), "http://127.0.0.1:")
	require.Contains(t, string(out), "postgres://")
	require.Equal(t, printer.ExitOK, dev.end(t, syscall.SIGTERM), dev.output)
}

func TestDevEndsWhenAServerDoes(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	dev := startDev(t, dir)
	family := descendants(t, dev.cmd.Process.Pid)
	postmaster, err := os.ReadFile(filepath.Join(dir, ".rollcall", "postgres", "data", "postmaster.pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.Fields(string(postmaster))[0])
	require.NoError(t, err)
	require.Contains(t, family, pid)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Equal(t, printer.ExitFailed, dev.awaitEnd(t, family), dev.output)
	require.Contains(t, dev.output.String(), "PostgreSQL has ended by itself")
}

func TestDevShowsTheLastWordsOfAServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	// Files of a cluster that PostgreSQL will not take for its own.
	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".rollcall", "postgres", "data"), 0o711))
	cmd := program(t, dir, "dev", "--port", "0", "--ui-port", "0")
	ctx, cancel := context.WithTimeout(t.Context(), devStartLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, printer.ExitFailed, cmd.ProcessState.ExitCode(), "%s", out)
	require.Regexp(t, `start PostgreSQL: .*; it said:\n.*postgres`, string(out))
	require.FileExists(t, filepath.Join(dir, ".rollcall", "logs", "postgres.log"))
}

func TestDevUnderstandsItsCommandLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args      []string
		complaint string
	}{
		"--until-done without a demo": {[]string{"--until-done"}, "--demo examples"},
		"--restore-id without a demo": {[]string{"--restore-id", "x"}, "--demo examples"},
		"--dir with --until-done": {
			[]string{"--demo", "../examples", "--until-done", "--dir", "x"}, "--dir does not go with",
		},
		"a database of someone else's": {[]string{"--database-url", "postgres://x"}, "--database-url does not go with dev"},
		"a restore id that cannot be":  {[]string{"--demo", "../examples", "--restore-id", "-"}, "restore id"},
		"arguments":                    {[]string{"examples"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streams := printer.SystemIO()
			var stderr bytes.Buffer
			streams.Stderr, streams.Dir = &stderr, t.TempDir()
			require.Equal(t, printer.ExitUsage, Execute(t.Context(), streams, append([]string{"dev"}, c.args...)), &stderr)
			require.Contains(t, stderr.String(), c.complaint)
		})
	}
}
