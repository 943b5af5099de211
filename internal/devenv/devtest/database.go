package devtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
	"rollcall/inventory"
)

// Database gives the test a fresh database with Rollcall's schema, migrated to the newest version, and returns its
// URL. It is dropped after the test, with whoever is still connected.
func Database(t testing.TB) string {
	t.Helper()
	server, err := postgres()
	require.NoError(t, err)
	template, err := migrated()
	require.NoError(t, err)
	return server.database(t, template)
}

// EmptyDatabase gives the test a fresh database without any table, and returns its URL.
func EmptyDatabase(t testing.TB) string {
	t.Helper()
	server, err := postgres()
	require.NoError(t, err)
	return server.database(t, "template0")
}

// As returns the URL of a test's database for a program that has the rights of a role only, one of the package roles.
func As(t testing.TB, database, role string) string {
	t.Helper()
	as, err := inventory.RoleURL(database, role)
	require.NoError(t, err)
	return as
}

// ReadOnly makes a test's database refuse writes, as a server does that was demoted, and drops its connections. The
// function that it returns makes the database writable again and drops the connections once more.
func ReadOnly(t testing.TB, database string) (writable func()) {
	t.Helper()
	server, err := postgres()
	require.NoError(t, err)
	u, err := url.Parse(database)
	require.NoError(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	set := func(value string) {
		t.Helper()
		_, err := server.admin.ExecContext(t.Context(),
			"ALTER DATABASE "+pq.QuoteIdentifier(name)+" SET default_transaction_read_only = "+value)
		require.NoError(t, err)
		_, err = server.admin.ExecContext(t.Context(),
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
		require.NoError(t, err)
	}
	set("on")
	return func() { t.Helper(); set("off") }
}

// dbServer is a PostgreSQL server on which we may create databases.
type dbServer struct {
	admin *sql.DB
	url   url.URL
}

var postgres = sync.OnceValues(func() (*dbServer, error) {
	address := os.Getenv(EnvDatabaseURL)
	if address == "" {
		var err error
		if address, err = startPostgres(); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", EnvDatabaseURL, err)
	}
	admin, err := sql.Open("postgres", address)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	atEnd.add(admin.Close)
	return &dbServer{admin: admin, url: *u}, nil
})

// Servers and what is common to all tests are made with context.Background(): they outlive the test that asks first.

// migrated is the name of the template that Database copies.
var migrated = sync.OnceValues(func() (string, error) {
	server, err := postgres()
	if err != nil {
		return "", err
	}
	name := newName("template")
	if err := server.create(context.Background(), name, "template0"); err != nil {
		return "", err
	}
	atEnd.add(func() error { return server.drop(name) })
	if _, err := inventory.Migrate(context.Background(), server.urlOf(name)); err != nil {
		return "", fmt.Errorf("migrate template: %w", err)
	}
	if err := inventory.CreateRoles(context.Background(), server.urlOf(name)); err != nil {
		return "", fmt.Errorf("create the roles: %w", err)
	}
	return name, nil
})

// removeWhenStopped removes a cluster's directory as soon as no server runs on it.
const removeWhenStopped = `
tries=0
while [ -d "$1" ] && [ $tries -lt 300 ]; do
	pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
	if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then rm -rf "$1" 2>/dev/null && exit; fi
	tries=$((tries + 1)); sleep 0.1
done`

func startPostgres() (string, error) {
	dir, err := os.MkdirTemp("", "rollcall-test-")
	if err != nil {
		return "", fmt.Errorf("create directory for PostgreSQL: %w", err)
	}
	if err := removeAtExit(dir); err != nil {
		return "", err
	}
	server, err := devenv.StartPostgres(context.Background(), devenv.PostgresConfig{Dir: dir})
	if err != nil {
		return "", err
	}
	if server.Dir() != dir {
		if err := removeAtExit(server.Dir()); err != nil {
			return "", err
		}
	}
	atEnd.add(server.Stop)
	return server.URL(), nil
}

func removeAtExit(dir string) error {
	remover, err := devenv.OnExit(removeWhenStopped, dir)
	if err != nil {
		return err
	}
	atEnd.add(remover.Close)
	return nil
}

func (s *dbServer) database(t testing.TB, template string) string {
	t.Helper()
	name := newName("test")
	require.NoError(t, s.create(t.Context(), name, template))
	t.Cleanup(func() { require.NoError(t, s.drop(name)) })
	return s.urlOf(name)
}

func (s *dbServer) create(ctx context.Context, name, template string) error {
	_, err := s.admin.ExecContext(ctx,
		"CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE "+pq.QuoteIdentifier(template))
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

func (s *dbServer) drop(name string) error {
	// Not a test's context: that has ended when its cleanup runs.
	_, err := s.admin.ExecContext(context.Background(), "DROP DATABASE "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
	if err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

func (s *dbServer) urlOf(name string) string {
	u := s.url
	u.Path = "/" + name
	return u.String()
}

// newName cannot meet that of another test binary on the same server.
func newName(kind string) string { return "rollcall_" + kind + "_" + strings.ToLower(rand.Text()) }
