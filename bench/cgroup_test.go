package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHierarchyIsFoundInBothVersionsOfControlGroups(t *testing.T) {
	t.Parallel()
	t.Run("version 1", func(t *testing.T) {
		t.Parallel()
		mount := t.TempDir()
		_, err := findHierarchy(mount)
		require.ErrorIs(t, err, os.ErrNotExist)

		require.NoError(t, os.Mkdir(filepath.Join(mount, "cpu"), 0o755))
		writeFile(t, filepath.Join(mount, "cpu", "cgroup.procs"), "")
		h, err := findHierarchy(mount)
		require.NoError(t, err)
		require.Equal(t, hierarchy{dir: filepath.Join(mount, "cpu")}, h)
	})
	t.Run("version 2", func(t *testing.T) {
		t.Parallel()
		mount := t.TempDir()
		writeFile(t, filepath.Join(mount, "cgroup.controllers"), "cpuset memory\n")
		_, err := findHierarchy(mount)
		require.ErrorContains(t, err, "there is no cpu controller in "+mount)

		writeFile(t, filepath.Join(mount, "cgroup.controllers"), "cpuset cpu memory\n")
		h, err := findHierarchy(mount)
		require.NoError(t, err)
		require.Equal(t, hierarchy{dir: mount, unified: true}, h)
		handedDown, err := os.ReadFile(filepath.Join(mount, "cgroup.subtree_control"))
		require.NoError(t, err)
		require.Equal(t, "+cpu", string(handedDown))
	})
}

func TestProcessesAreGivenBackToTheGroupTheyComeFrom(t *testing.T) {
	t.Parallel()
	v1, v2 := hierarchy{dir: "/groups/cpu"}, hierarchy{dir: "/groups", unified: true}
	const both = "5:cpuset:/sets\n4:cpu,cpuacct:/a:b\n1:name=systemd:/units\n0::/bench/one\n"
	require.Equal(t, "/groups/cpu/a:b", v1.groupAmong(both))
	require.Equal(t, "/groups/bench/one", v2.groupAmong(both))
	require.Equal(t, "/groups/cpu", v1.groupAmong("0::/bench/one\n"))
	require.Equal(t, "/groups", v2.groupAmong("0::/\n"))
	require.Equal(t, "/groups/elsewhere", v2.groupAmong("0::/../../elsewhere\n"),
		"nothing outside the hierarchy is written to")
}

func TestSettingsGiveTheShareOutOften(t *testing.T) {
	t.Parallel()
	v1, v2 := hierarchy{}, hierarchy{unified: true}
	require.Equal(t, []setting{{"cpu.cfs_period_us", "20000"}, {"cpu.cfs_quota_us", "5000"}}, v1.settings(0.25))
	require.Equal(t, []setting{{"cpu.max", "5000 20000"}}, v2.settings(0.25))
	require.Equal(t, []setting{{"cpu.max", "40000 20000"}}, v2.settings(2))
	require.Equal(t, []setting{{"cpu.max", "1000 100000"}}, v2.settings(leastCores),
		"Linux gives out no less than a millisecond")
	require.Equal(t, []setting{{"cpu.max", "1000 33333"}}, v2.settings(0.03), "nor does rounding ask for less")
}

func TestRollcallRefusesServersThatItCannotStart(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--servers=3":        "need --server postgres",
		"--shards=4":         "need --server postgres",
		"--servers=0":        "--servers is at least 1",
		"--server-cpu=-1":    "--server-cpu -1 is neither 0, no limit, nor at least 0.01 of a core",
		"--worker-cpu=0.001": "--worker-cpu 0.001 is neither",
	} {
		cmd := newRollcallCommand()
		cmd.SetArgs([]string{args})
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		require.ErrorContains(t, cmd.ExecuteContext(t.Context()), want)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}
