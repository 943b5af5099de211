// Package inventory is PostgreSQL as Rollcall sees it: Flight Control's tables of devices, fleets, enrollment requests
// and events, which it shares, and the tables of the schema rollcall, which are its own: the restores, the roll with
// one row for each device that a restore waits for, and the append-only audit of transitions.
//
// Where to look: store.go opens it, migrate.go makes what is missing, and restores.go opens a restore, says which
// others it may take over from (T6), and ends it. roll.go puts devices and requests on the roll (T1), in the SQL of
// roll_sql.go; transitions.go carries out T2 to T5. Both stand on change.go, which is a whole transition in one
// statement, and on position.go, which looks at the locked rows where that one did not apply. audit.go keeps the audit
// and tells Flight Control by events; tally.go counts and lists the roll. device_position.go says where devices and
// requests stand. agent.go and agent_request.go are what the gateway asks, submit_request.go takes a posted request,
// and enrollment.go and enroll.go decide it. watch.go finds what a live Flight Control has made of the devices that are
// waited for, and has the roll follow it. query.go reads resources in the form of resource.go, and import.go stores
// them.
//
// Package fleetfile decodes what Flight Control prints, package selector turns what a person selects into SQL, and
// package pgdial opens connections.
//
// Decisions are runbook's; the SQL here only carries them out, and carries out each one whole or not at all. A
// transition locks the device row first and its row on the roll second, in every path, so that none waits for another
// in a circle. It is refused when its restore no longer runs or when a newer restore has put the device on its own
// roll. An error that is a *runbook.Refusal is an answer; any other is a failure that is worth another try.
package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"rollcall/internal/fault"
	"rollcall/inventory/pgdial"
	"rollcall/runbook"
)

// The pool of one process. Transitions are short, so that few connections carry many devices, and a cluster that
// several workers share keeps room for Flight Control itself.
const (
	maxConnections  = 16
	idleConnections = 16
	idleTime        = 5 * time.Minute
)

// Store is the inventory in one PostgreSQL database. It is safe for use by many goroutines.
type Store struct {
	db *sqlx.DB

	// prepared and applying hold the statements of the fast paths, made at first use: before that the schema may not be
	// there.
	prepared   map[string]*sqlx.NamedStmt
	applying   *sqlx.Stmt
	preparedMu sync.Mutex
}

// Open connects to the database of url, a PostgreSQL URL or a "key=value" string, and returns once it has answered. It
// does not look at the schema; that is CheckSchema's part. The caller closes the Store.
func Open(ctx context.Context, url string) (*Store, error) { return open(ctx, url, pgdial.Transition) }

// PasswordOf is the password with which Open connects to the database of url; empty is without one.
func PasswordOf(url string) (string, error) {
	cfg, err := pgdial.Config(url)
	return cfg.Password, err
}

func open(ctx context.Context, url string, limits pgdial.Limits) (*Store, error) {
	connector, err := pgdial.NewConnector(url, limits)
	if err != nil {
		return nil, errBadURL // what the driver says quotes the password
	}
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(idleConnections)
	db.SetConnMaxIdleTime(idleTime)
	s := &Store{db: db, prepared: map[string]*sqlx.NamedStmt{}}
	if err := s.checkSession(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// checkSession reports whether the database answers, and keeps the settings of a session.
func (s *Store) checkSession(ctx context.Context) error {
	var kept bool
	err := s.db.GetContext(ctx, &kept, pgdial.Kept)
	if err == nil && !kept {
		err = pgdial.ErrPooler
	}
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return nil
}

var errBadURL = errors.New("the database's URL cannot be read; it is not shown, since it holds a password. " +
	"It looks like postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full, with special characters as %40 for @")

// Close ends all connections.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return nil
}

// CheckWritable reports whether the database takes writes: a server that was demoted answers, and refuses them. It
// changes nothing.
func (s *Store) CheckWritable(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, `update rollcall.roll set noted_version = noted_version where false`); err != nil {
		return fmt.Errorf("write to the database: %w", err)
	}
	return nil
}

// DB is the pool itself, for metrics and for tests.
func (s *Store) DB() *sqlx.DB { return s.db }

// prepare returns the prepared form of a statement with named parameters; the second time it is the same one. A
// prepared statement takes one round trip where the driver needs two for any other.
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

// prepareApply returns the prepared form of applyChange.
func (s *Store) prepareApply(ctx context.Context) (*sqlx.Stmt, error) {
	s.preparedMu.Lock()
	defer s.preparedMu.Unlock()
	if s.applying == nil {
		stmt, err := s.db.PreparexContext(ctx, applyChange)
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
		return explain(err)
	}
	fault.At(fault.BeforeCommit)
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", explain(err))
	}
	fault.At(fault.AfterCommit)
	return nil
}

// inTxWithin is inTx with other limits than the pool's.
func (s *Store) inTxWithin(ctx context.Context, limits pgdial.Limits, do func(tx *sqlx.Tx) error) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, limits.Local()); err != nil {
			return fmt.Errorf("set the limits of a transaction: %w", err)
		}
		return do(tx)
	})
}

// explain says what PostgreSQL's word for a limit means. Either may be tried again: nothing was written.
func explain(err error) error {
	switch {
	case pq.As(err, pqerror.LockNotAvailable) != nil:
		return fmt.Errorf("another transaction holds a row that this one needs, for longer than its lock_timeout: %w", err)
	case pq.As(err, pqerror.IdleInTransactionSessionTimeout) != nil:
		return fmt.Errorf("this process was silent in a transaction for so long that PostgreSQL has given it up: %w", err)
	}
	return err
}

// organizationLock is the key of the advisory lock that keeps two from making an organisation of the same name.
const organizationLock = 0x726f6c6c0003

// ResolveOrg finds the id of an organisation by "default" (or nothing), its id, its external id or its display name, in
// this order. None is a *Refusal with CodeNotFound, and a display name of several one with CodeInvalidRequest.
func (s *Store) ResolveOrg(ctx context.Context, ref string) (string, error) {
	return resolveOrg(ctx, s.db, ref)
}

func resolveOrg(ctx context.Context, db sqlx.QueryerContext, ref string) (string, error) {
	if ref == "" || ref == runbook.DefaultOrg {
		ref = runbook.DefaultOrgID
	}
	if id, err := uuid.Parse(ref); err == nil {
		return id.String(), organizationExists(ctx, db, id.String())
	}
	for _, column := range []string{"external_id", "display_name"} {
		var ids []string
		err := sqlx.SelectContext(ctx, db, &ids, `select id from organizations where `+column+` = $1 order by id limit 2`,
			ref)
		if err != nil {
			return "", fmt.Errorf("read organisation %s: %w", ref, err)
		}
		if len(ids) > 1 {
			return "", runbook.Refuse(runbook.CodeInvalidRequest,
				"several organisations are called %q; name one by its id, such as %s", ref, strings.Join(ids, " or "))
		}
		if len(ids) == 1 {
			return ids[0], nil
		}
	}
	return "", unknownOrg(ref)
}

func organizationExists(ctx context.Context, db sqlx.QueryerContext, id string) error {
	var exists bool
	if err := sqlx.GetContext(ctx, db, &exists, `select exists (select from organizations where id = $1)`,
		id); err != nil {
		return fmt.Errorf("read organisation %s: %w", id, err)
	}
	if !exists {
		return unknownOrg(id)
	}
	return nil
}

func unknownOrg(ref string) *runbook.Refusal {
	return runbook.Refuse(runbook.CodeNotFound, "there is no organisation %q", ref)
}

// CreateOrg makes an organisation and returns its id; ref is the id that it shall have, or its display name. One that
// is there already is returned as it is.
func (s *Store) CreateOrg(ctx context.Context, ref string) (id string, err error) {
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		id, err = createOrg(ctx, tx, ref)
		return err
	})
	return id, err
}

// createOrg is CreateOrg within a transaction.
func createOrg(ctx context.Context, tx *sqlx.Tx, ref string) (id string, err error) {
	if id, err = resolveOrg(ctx, tx, ref); !isNotFound(err) {
		return id, err
	}
	if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock($1)`, organizationLock); err != nil {
		return "", fmt.Errorf("wait for another organisation that is made: %w", err)
	}
	if id, err = resolveOrg(ctx, tx, ref); !isNotFound(err) {
		return id, err
	}
	if id == "" {
		id = uuid.NewString()
	}
	_, err = tx.ExecContext(ctx, `insert into organizations (id, external_id, display_name, created_at, updated_at)
		values ($1, '', $2, now(), now())`, id, ref)
	if err != nil {
		return "", fmt.Errorf("create organisation %s: %w", ref, err)
	}
	return id, nil
}

func isNotFound(err error) bool {
	refusal := runbook.AsRefusal(err)
	return refusal != nil && refusal.Code == runbook.CodeNotFound
}

// RefusesValues reports whether an error is PostgreSQL's word that it will never take the values of a statement
// (SQLSTATE classes 22, data exceptions, and 23, violated constraints), as opposed to a connection, lock or resource
// that may be there at the next attempt.
func RefusesValues(err error) bool {
	var answer *pq.Error
	if !errors.As(err, &answer) {
		return false
	}
	class := answer.Code.Class()
	return class == "22" || class == "23"
}
