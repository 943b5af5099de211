package inventorybench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/lib/pq"

	"rollcall/internal/devenv"
	"rollcall/inventory"
)

// benchServer is the PostgreSQL server that is measured on.
type benchServer struct {
	admin   *sql.DB
	url     url.URL
	version string
	ends    []func() error
}

// openServer starts a private server, or takes the one of --postgres-url.
func (o *inventoryOptions) openServer(ctx context.Context) (*benchServer, error) {
	s := &benchServer{}
	address := o.postgresURL
	if address == "" {
		dir, err := os.MkdirTemp("", "rollcall-bench-")
		if err != nil {
			return nil, fmt.Errorf("create a directory for PostgreSQL: %w", err)
		}
		s.ends = append(s.ends, func() error { return os.RemoveAll(dir) })
		p, err := devenv.StartPostgres(ctx, devenv.PostgresConfig{Dir: dir, Durable: o.durable})
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		if p.Dir() != dir {
			s.ends = append(s.ends, func() error { return os.RemoveAll(p.Dir()) })
		}
		s.ends = append(s.ends, p.Stop)
		address = p.URL()
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read --postgres-url: %w", err), s.close())
	}
	s.url = *u
	if s.admin, err = sql.Open("postgres", address); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to PostgreSQL: %w", err), s.close())
	}
	s.ends = append(s.ends, s.admin.Close)
	if err := s.admin.QueryRowContext(ctx, `show server_version`).Scan(&s.version); err != nil {
		return nil, errors.Join(fmt.Errorf("reach PostgreSQL: %w", err), s.close())
	}
	return s, nil
}

func (s *benchServer) close() error {
	var failed []error
	for i := len(s.ends) - 1; i >= 0; i-- {
		failed = append(failed, s.ends[i]())
	}
	s.ends = nil
	return errors.Join(failed...)
}

// copyOf makes a database that is a copy of another, or an empty one, and returns its name.
func (s *benchServer) copyOf(ctx context.Context, template string) (string, error) {
	name := "rollcall_bench_" + strings.ToLower(rand.Text())
	// as files: with the default strategy all pages of a large template would go through the WAL
	_, err := s.admin.ExecContext(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name)+
		" TEMPLATE "+pq.QuoteIdentifier(template)+" STRATEGY file_copy")
	if err != nil {
		return "", fmt.Errorf("create a database: %w", err)
	}
	return name, nil
}

// drop removes a database; the bench is over where that fails, and so it is not told.
func (s *benchServer) drop(name string) {
	// Not the bench's context: that may have ended.
	_, _ = s.admin.ExecContext(context.Background(), "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
}

func (s *benchServer) urlOf(name string) string {
	u := s.url
	u.Path = "/" + name
	return u.String()
}

// checkpoint writes what earlier work has left dirty, so that it does not weigh on what is measured next.
func (s *benchServer) checkpoint(ctx context.Context) error {
	_, err := s.admin.ExecContext(ctx, `checkpoint`)
	return err
}

// wal is how many bytes of WAL the server has written.
func (s *benchServer) wal(ctx context.Context) (bytes float64, err error) {
	err = s.admin.QueryRowContext(ctx, `select pg_current_wal_insert_lsn() - '0/0'`).Scan(&bytes)
	return bytes, err
}

// newFleet makes a database with n devices, as a restore finds it.
func (s *benchServer) newFleet(ctx context.Context, schema string, n int) (string, error) {
	name, err := s.copyOf(ctx, "template0")
	if err != nil {
		return "", err
	}
	if err := fillFleet(ctx, s.urlOf(name), schema, n); err != nil {
		s.drop(name)
		return "", fmt.Errorf("fill a database: %w", err)
	}
	return name, nil
}

func fillFleet(ctx context.Context, address, schema string, n int) error {
	db, err := sql.Open("postgres", address)
	if err != nil {
		return err
	}
	defer db.Close()
	if schema == schemaFlightctl {
		if _, err := db.ExecContext(ctx, flightctlTables); err != nil {
			return fmt.Errorf("create Flight Control's tables: %w", err)
		}
	}
	if _, err := inventory.Migrate(ctx, address); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, insertFleet, n); err != nil {
		return fmt.Errorf("write the devices: %w", err)
	}
	if _, err := db.ExecContext(ctx, setLastSeen); err != nil {
		return fmt.Errorf("write when the devices were seen: %w", err)
	}
	_, err = db.ExecContext(ctx, `vacuum analyze`)
	return err
}

// newRolled makes a copy of a fleet in which every device awaits its reconnect.
func (s *benchServer) newRolled(ctx context.Context, fleet string) (name string, err error) {
	if name, err = s.copyOf(ctx, fleet); err != nil {
		return "", err
	}
	if _, err = rollAll(ctx, s.urlOf(name), 0); err == nil {
		err = s.vacuum(ctx, name)
	}
	if err != nil {
		s.drop(name)
		return "", fmt.Errorf("put the fleet on a roll: %w", err)
	}
	return name, nil
}

// vacuum does what autovacuum does some minutes after a restore has begun. Pages can be marked as seen by everybody,
// for scans of an index alone, once what wrote them is on disk.
func (s *benchServer) vacuum(ctx context.Context, name string) error {
	if err := s.checkpoint(ctx); err != nil {
		return err
	}
	db, err := sql.Open("postgres", s.urlOf(name))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `vacuum analyze`)
	return err
}
