package devenv

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// helperDir makes the test binary a helper process that runs both servers in this directory until it is killed.
const helperDir = "DEVENV_TEST_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		if err := runServers(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	os.Exit(m.Run())
}

// running is what the helper process says about its servers.
type running struct {
	Postgres string
	Temporal string
}

func runServers(dir string) error {
	if _, err := LockDir(dir); err != nil {
		return err
	}
	p, err := StartPostgres(context.Background(), PostgresConfig{Dir: filepath.Join(dir, "postgres"), Durable: true})
	if err != nil {
		return err
	}
	s, err := StartTemporal(context.Background(), TemporalConfig{Dir: filepath.Join(dir, "temporal")})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(running{Postgres: p.URL(), Temporal: s.Address()})
}

// reachableDir is a directory that PostgreSQL's user can reach, which t.TempDir() is not when we are root.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rollcall-devenv-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

func startPostgres(t *testing.T, cfg PostgresConfig) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	return p
}

func execSQL(t *testing.T, url, statement string) error {
	t.Helper()
	db, err := sql.Open("postgres", url)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), statement)
	return err
}
