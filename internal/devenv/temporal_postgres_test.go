package devenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The server itself takes minutes to build and is not part of the tests; these run a small script in its place.

func TestTemporalOnPostgresSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := findTemporalPostgres("/nowhere:", []string{t.TempDir()})
	require.ErrorContains(t, err, "make bench-server")

	_, err = StartTemporalOnPostgres(t.Context(), TemporalOnPostgresConfig{Binary: "/bin/true"})
	require.ErrorContains(t, err, "start Temporal on PostgreSQL: no directory is given")

	dir := reachableDir(t)
	_, err = StartTemporalOnPostgres(t.Context(),
		TemporalOnPostgresConfig{Dir: dir, Binary: filepath.Join(dir, "missing")})
	require.ErrorContains(t, err, "start Temporal on PostgreSQL: ")
	requirePostgresEnded(t, dir)
}

func TestTemporalOnPostgresSaysWhyItCannotStartAndStopsItsPostgres(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	_, err := StartTemporalOnPostgres(t.Context(), TemporalOnPostgresConfig{
		Dir: dir, Binary: script(t, "echo out of disk >&2; exit 7"),
	})
	require.ErrorContains(t, err, "start Temporal on PostgreSQL: it ended at once (exit status 7); it said:\nout of disk")
	requirePostgresEnded(t, dir)
}

func TestTemporalOnPostgresStopsTheOtherMembersWhereOneCannotStart(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	_, err := StartTemporalOnPostgres(t.Context(), TemporalOnPostgresConfig{
		Dir: dir, Members: 3, Binary: script(t, `case "$4" in *",$2") echo out of disk >&2; exit 7;; esac; exec sleep 600`),
	})
	require.Error(t, err)
	require.Regexp(t, `start Temporal on PostgreSQL \(member on port \d+\): it ended at once \(exit status 7\); it said:\nout of disk`, err.Error())
	requireUnlocked(t, filepath.Join(dir, "lock"))
	requirePostgresEnded(t, dir)

	_, err = StartTemporalOnPostgres(t.Context(), TemporalOnPostgresConfig{Dir: dir, Members: -1, Binary: "/bin/true"})
	require.ErrorContains(t, err, "start Temporal on PostgreSQL: a cluster cannot have -1 members")
}

func TestTemporalOnPostgresHandsItsConfigurationOn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg  TemporalOnPostgresConfig
		want string
	}{
		"defaults": {want: ""},
		"all": {
			TemporalOnPostgresConfig{Shards: 4, Conns: 7, AsyncCommit: true, JWKSURI: "http://127.0.0.1:1/keys"},
			" --shards 4 --conns 7 --async-commit --jwks-uri http://127.0.0.1:1/keys",
		},
		"one member": {TemporalOnPostgresConfig{Members: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.Dir = reachableDir(t)
			tc.cfg.Binary = script(t, `echo "args: $*"; echo "url: $TEMPORAL_POSTGRES_URL"; exit 1`)
			_, err := StartTemporalOnPostgres(t.Context(), tc.cfg)
			require.Error(t, err)
			said := strings.Split(err.Error(), "\n")
			require.Len(t, said, 3)
			require.Regexp(t, `^args: --port \d+`+tc.want+`$`, said[1])
			require.Regexp(t, `^url: postgres://rollcall:\w+@127\.0\.0\.1:\d+/rollcall\?sslmode=disable$`, said[2])
			require.NotContains(t, said[1], "postgres:", "the password is for the environment")
		})
	}
}

func TestTemporalOnPostgresTellsItsMembersOfEachOther(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg  TemporalOnPostgresConfig
		want string
	}{
		"they share the connections, rounded up": {TemporalOnPostgresConfig{Members: 3}, "--conns 7"},
		"but not beyond what PostgreSQL serves":  {TemporalOnPostgresConfig{Members: 9}, "--conns 2"},
		"each has as many as said":               {TemporalOnPostgresConfig{Members: 3, Conns: 2}, "--conns 2"},
		"each has at least one":                  {TemporalOnPostgresConfig{Members: 25}, "--conns 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &TemporalOnPostgres{cfg: tc.cfg, ports: []int{7233, 7237, 7241}, postgres: &Postgres{}}
			require.Equal(t, "--port 7237 --members 7233,7237,7241 "+tc.want, strings.Join(server.program(7237).args, " "))
			require.Equal(t, []string{"127.0.0.1:7233", "127.0.0.1:7237", "127.0.0.1:7241"}, server.Addresses())
		})
	}
}

func TestFreePortBlockTakesTheWantedPortsOrOthers(t *testing.T) {
	t.Parallel()
	first, err := freePortBlock(0, 3)
	require.NoError(t, err)
	require.NotZero(t, first)

	taken := listen(t)
	other, err := freePortBlock(taken-1, 2)
	require.NoError(t, err)
	require.NotEqual(t, taken-1, other, "the second port of the block is taken")

	require.False(t, blockIsFree(maxPort, 2), "there is no port after the last one")
}

// requirePostgresEnded proves it by a start that does not wait for the lock.
func requirePostgresEnded(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "postgres", "lock")
	if !exists(path) {
		return // as root it may stand elsewhere, and where nothing was started there is none
	}
	requireUnlocked(t, path)
}

// requireUnlocked proves that no process lives which has inherited the lock.
func requireUnlocked(t *testing.T, path string) {
	t.Helper()
	lock, err := os.OpenFile(path, os.O_RDWR, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, tryLock(lock, exclusive))
}

func script(t *testing.T, body string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "temporal-postgres")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+body+"\n"), 0o700))
	return file
}
