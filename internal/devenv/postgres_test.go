package devenv

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
)

func TestPostgresRestartsOnItsFiles(t *testing.T) {
	t.Parallel()
	cfg := PostgresConfig{Dir: filepath.Join(reachableDir(t), "postgres"), Durable: true}
	first := startPostgres(t, cfg)
	require.NoError(t, execSQL(t, first.URL(), "CREATE TABLE kept (x int)"))
	require.NoError(t, first.Stop())
	require.Error(t, execSQL(t, first.URL(), "SELECT 1"))

	second := startPostgres(t, cfg)
	require.NoError(t, execSQL(t, second.URL(), "SELECT x FROM kept"))
	require.NoError(t, second.Stop())
	require.NoError(t, second.Stop(), "a second stop is harmless")
}

// After a reboot, the process id that a killed server left behind can be that of any other process of its user.
func TestPostgresRestartsAfterSIGKILL(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	other := startPostgres(t, PostgresConfig{Dir: filepath.Join(dir, "other")})
	cfg := PostgresConfig{Dir: filepath.Join(dir, "postgres"), Durable: true}
	first := startPostgres(t, cfg)
	require.NoError(t, execSQL(t, first.URL(), "CREATE TABLE kept (x int)"))
	require.NoError(t, first.server.cmd.Process.Kill())
	<-first.Done()
	left := filepath.Join(first.Dir(), dataDir, "postmaster.pid")
	text, err := os.ReadFile(left)
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "\n")
	theirs, err := os.ReadFile(filepath.Join(other.Dir(), dataDir, "postmaster.pid"))
	require.NoError(t, err)
	pid, _, _ := strings.Cut(string(theirs), "\n")
	require.NoError(t, os.WriteFile(left, []byte(pid+"\n"+rest), 0o600))

	second := startPostgres(t, cfg)
	require.NoError(t, execSQL(t, second.URL(), "SELECT x FROM kept"))
}

func TestPostgresStartsAgainAfterAnInterruptedStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(reachableDir(t), "postgres")
	unfinished := filepath.Join(dir, dataDir+".new")
	require.NoError(t, os.MkdirAll(unfinished, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(unfinished, "PG_VERSION"), []byte("15\n"), 0o600))
	startPostgres(t, PostgresConfig{Dir: dir})
}

func TestPostgresRunsOnceInADirectory(t *testing.T) {
	t.Parallel()
	cfg := PostgresConfig{Dir: filepath.Join(reachableDir(t), "postgres")}
	startPostgres(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := StartPostgres(ctx, cfg)
	require.ErrorContains(t, err, "a server still runs on "+cfg.Dir)
}

func TestPostgresTakesAnotherPortThanATakenOne(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	p := startPostgres(t, PostgresConfig{Dir: filepath.Join(reachableDir(t), "postgres"), Port: taken})
	require.NotEqual(t, taken, p.port)

	require.NoError(t, p.Stop())
	again := startPostgres(t, PostgresConfig{Dir: p.Dir(), Port: p.port})
	require.Equal(t, p.URL(), again.URL(), "the preferred port is free now")
}

func TestPostgresWantsThePassword(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresConfig{Dir: filepath.Join(reachableDir(t), "postgres")})
	info, err := os.Stat(filepath.Join(p.Dir(), passwordFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	var pqErr *pq.Error
	require.ErrorAs(t, execSQL(t, strings.Replace(p.URL(), p.password, "guessed", 1), "SELECT 1"), &pqErr)
	require.Equal(t, "invalid_password", pqErr.Code.Name())
}

// t.TempDir() is below a directory of mode 0700, as a clone in /root is.
func TestPostgresAsRootWorksBelowAPrivateDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "postgres")
	want := dir
	if os.Geteuid() == 0 {
		want = fallbackFor(dir)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(want)) })
	}
	first := startPostgres(t, PostgresConfig{Dir: dir})
	require.Equal(t, want, first.Dir())
	if want != dir {
		location, err := os.ReadFile(filepath.Join(dir, locationFile))
		require.NoError(t, err)
		require.Equal(t, want+"\n", string(location))
	}
	require.NoError(t, execSQL(t, first.URL(), "CREATE TABLE kept (x int)"))
	require.NoError(t, first.Stop())

	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	second := startPostgres(t, PostgresConfig{Dir: dir})
	require.Equal(t, want, second.Dir(), "its files are found although the directory has become reachable")
	require.NoError(t, execSQL(t, second.URL(), "SELECT x FROM kept"))
}

func TestPostgresThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	given, err := os.Create(filepath.Join(t.TempDir(), "given"))
	require.NoError(t, err)
	defer given.Close()
	cfg := PostgresConfig{Dir: filepath.Join(reachableDir(t), "postgres")}
	p := startPostgres(t, cfg)
	require.NoError(t, p.Stop())
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir(), dataDir, "PG_VERSION"), []byte("9\n"), 0o600))
	for name, log := range map[string]io.Writer{
		"its own file": nil, "a given file": given, "a writer": new(bytes.Buffer),
	} {
		cfg.Log = log
		_, err := StartPostgres(t.Context(), cfg)
		require.ErrorContains(t, err, "start PostgreSQL: it ended at once", name)
		require.ErrorContains(t, err, "not compatible with this version", name)
	}
}

func TestCreateDatabaseCopiesATemplate(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresConfig{Dir: filepath.Join(reachableDir(t), "postgres")})
	template, err := p.CreateDatabase(t.Context(), `odd "name"`, "")
	require.NoError(t, err)
	require.NoError(t, execSQL(t, template, "CREATE TABLE copied (x int)"))
	url, err := p.CreateDatabase(t.Context(), "copy", `odd "name"`)
	require.NoError(t, err)
	require.NoError(t, execSQL(t, url, "SELECT x FROM copied"))
	_, err = p.CreateDatabase(t.Context(), "copy", "")
	require.ErrorContains(t, err, "create database copy")
}

// listen takes a port for the length of the test.
func listen(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", hostPort(0))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}
