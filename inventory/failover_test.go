package inventory_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

// A server that is demoted refuses writes (SQLSTATE 25006) and goes on answering reads: its connections are dropped.
func TestAConnectionToAServerThatCannotWriteIsDropped(t *testing.T) {
	t.Parallel()
	inTx := func(do string) func(store *inventory.Store) error {
		return func(store *inventory.Store) error {
			tx, err := store.DB().BeginTxx(t.Context(), nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			_, err = tx.Exec(do, 7)
			return err
		}
	}
	standby := with(standbyServer(t), "target_session_attrs=any")
	for name, tc := range map[string]struct {
		database string
		write    func(store *inventory.Store) error
	}{
		"readiness": {devtest.Database(t), func(s *inventory.Store) error { return s.CheckWritable(t.Context()) }},
		"prepared": {devtest.Database(t), func(s *inventory.Store) error {
			stmt, err := s.DB().Preparex(`update devices set generation = $1 returning name`)
			require.NoError(t, err)
			defer stmt.Close()
			rows, err := stmt.Query(7)
			if err == nil {
				err = rows.Close()
			}
			return err
		}},
		"a standby": {standby, func(s *inventory.Store) error {
			_, err := s.DB().Exec(`create table t (x int)`)
			return err
		}},
		"a standby, a transaction": {standby, inTx(`create table t (x int)`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := openStore(t, tc.database)
			store.DB().SetMaxOpenConns(1)
			if tc.database != standby {
				require.NoError(t, tc.write(store))
				store.DB().MustExec(`set session characteristics as transaction read only`)
			}
			before := count(t, store, `select pg_backend_pid()`)
			require.Equal(t, before, count(t, store, `select pg_backend_pid()`), "what reads keeps its connection")
			require.ErrorContains(t, tc.write(store), "read-")
			require.NotEqual(t, before, count(t, store, `select pg_backend_pid()`), "the next one leads to who has taken over")
		})
	}
}

// standbyServer is a server that was restored from a backup and waits for its primary.
func standbyServer(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rollcall-standby-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := devenv.StartPostgres(t.Context(), devenv.PostgresConfig{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(server.Dir()) })
	require.NoError(t, server.Stop())
	require.NoError(t, os.WriteFile(filepath.Join(server.Dir(), "data", "standby.signal"), nil, 0o644))
	server, err = devenv.StartPostgres(t.Context(), devenv.PostgresConfig{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	return server.URL()
}

func TestAServerThatCannotWriteIsRefused(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	admin := openStore(t, database)
	admin.DB().MustExec(`do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$`)
	_, err := inventory.Open(t.Context(), database)
	require.ErrorContains(t, err, "no server of the database URL can be written to; name all that may take over")
	openStore(t, with(database, "target_session_attrs=any"))
}

// Of several servers the first that can be written to is used, and the next when that one is lost.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	first, _ := devtest.NewProxy(t, database)
	second, _ := devtest.NewProxy(t, database)
	u, err := url.Parse(standbyServer(t))
	require.NoError(t, err)
	demoted := u.Host
	u, err = url.Parse(database)
	require.NoError(t, err)
	for name, hosts := range map[string]string{
		"one that is gone":    "127.0.0.1:1," + u.Host,
		"one that was frozen": first.Address() + "," + second.Address(),
		"one that is demoted": demoted + "," + u.Host,
	} {
		address := strings.Replace(database, u.Host, hosts, 1)
		if name == "one that was frozen" {
			first.Freeze()
		}
		store, err := inventory.Open(t.Context(), address)
		require.NoError(t, err, name)
		require.NoError(t, store.CheckWritable(t.Context()), name)
		require.NoError(t, store.Close())
	}
}

// PgBouncer in transaction mode hands one session to many clients. It refuses settings that it does not know, or is
// told to ignore them.
func TestAPoolerIsRefusedWithAClearSentence(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	for name, more := range map[string]string{
		"as it comes": "",
		"told to ignore settings": "ignore_startup_parameters = idle_in_transaction_session_timeout, lock_timeout, " +
			"tcp_keepalives_idle, " +
			"tcp_keepalives_interval, tcp_keepalives_count, tcp_user_timeout\n",
	} {
		_, err := inventory.Open(t.Context(), pgbouncer(t, database, more))
		require.ErrorContains(t, err, "a connection pooler such as PgBouncer stands before PostgreSQL", name)
		require.ErrorContains(t, err, "let the database URL lead to PostgreSQL itself", name)
	}
}

// pgbouncer starts PgBouncer in transaction mode, and returns the database's URL through it.
func pgbouncer(t *testing.T, database, more string) string {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		binary = "/usr/sbin/pgbouncer"
	}
	u, err := url.Parse(database)
	require.NoError(t, err)
	password, _ := u.User.Password()
	dir, err := os.MkdirTemp("", "rollcall-pgbouncer-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o777)) // where it runs as another user
	// On a socket of its own: another test, which runs at the same time, may take a TCP port that is free now.
	const port = "6432"
	ini := fmt.Sprintf("[databases]\n* = host=%s port=%s user=%s password=%s\n[pgbouncer]\nlisten_addr =\n"+
		"listen_port = %s\nunix_socket_dir = %s\nauth_type = any\npool_mode = transaction\n%s", u.Hostname(), u.Port(),
		u.User.Username(), password, port, dir, more)
	file := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(t, os.WriteFile(file, []byte(ini), 0o644))
	args := []string{file}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "nobody")
	}
	cmd := exec.Command(binary, args...)
	require.NoError(t, cmd.Start(), "PgBouncer is missing: run `make tools`")
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.Eventually(t, func() bool { return listens(filepath.Join(dir, ".s.PGSQL."+port)) }, time.Minute,
		20*time.Millisecond)
	u.Host = ""
	query := u.Query()
	query.Set("host", dir)
	query.Set("port", port)
	u.RawQuery = query.Encode()
	return u.String()
}

func listens(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
