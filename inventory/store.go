package inventory

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The pool of one process. Transitions are short, so that few connections carry many devices, and a cluster that several
// workers share keeps room for Flight Control itself.
const (
	maxConnections  = 16
	idleConnections = 16
	idleTime        = 5 * time.Minute
)

// applicationName is what PostgreSQL shows of us in pg_stat_activity, unless the URL names another.
const applicationName = "rollcall"

// Store is the inventory in one PostgreSQL database. It is safe for use by many goroutines.
type Store struct {
	db *sqlx.DB

	// prepared and applying hold the statements of the fast paths, made at first use: before that the schema may not be there.
	prepared   map[string]*sqlx.NamedStmt
	applying   *sqlx.Stmt
	preparedMu sync.Mutex

	changes *together
}

// Open connects to the database of url, a PostgreSQL URL or a "key=value" string, and returns once it has answered. It
// does not look at the schema; that is CheckSchema's part. The caller closes the Store.
func Open(ctx context.Context, url string) (*Store, error) {
	connector, err := pq.NewConnector(named(url))
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	connector.Dialer(newDialer())
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(idleConnections)
	db.SetConnMaxIdleTime(idleTime)
	s := &Store{db: db, prepared: map[string]*sqlx.NamedStmt{}}
	s.changes = &together{all: s.applyAll}
	if err := s.Ping(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// Close ends all connections.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return nil
}

// DB is the pool itself, for metrics and for tests.
func (s *Store) DB() *sqlx.DB { return s.db }

// named adds our application name to a database URL that has none.
func named(database string) string {
	const key = "fallback_application_name"
	u, err := url.Parse(database)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return database + " " + key + "=" + applicationName
	}
	query := u.Query()
	query.Set(key, applicationName)
	u.RawQuery = query.Encode()
	return u.String()
}

// prepare returns the prepared form of a statement with named parameters; the second time it is the same one. A prepared
// statement takes one round trip where the driver needs two for any other.
func (s *Store) prepare(ctx context.Context, query string) (*sqlx.NamedStmt, error) {
	s.preparedMu.Lock()
	defer s.preparedMu.Unlock()
	if stmt, ok := s.prepared[query]; ok {
		return stmt, nil
	}
	stmt, err := s.db.PrepareNamedContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare a statement: %w", err)
	}
	s.prepared[query] = stmt
	return stmt, nil
}

// prepareApply returns the prepared form of applyChanges.
func (s *Store) prepareApply(ctx context.Context) (*sqlx.Stmt, error) {
	s.preparedMu.Lock()
	defer s.preparedMu.Unlock()
	if s.applying == nil {
		stmt, err := s.db.PreparexContext(ctx, applyChanges)
		if err != nil {
			return nil, fmt.Errorf("prepare a statement: %w", err)
		}
		s.applying = stmt
	}
	return s.applying, nil
}

// inTx runs do in one transaction of PostgreSQL's default isolation: each statement sees what was committed before it.
func (s *Store) inTx(ctx context.Context, do func(tx *sqlx.Tx) error) error {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the first error is the one to tell; a connection that is gone rolls back by itself
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
