package inventory

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"rollcall/inventory/pgdial"
	"rollcall/inventory/roles"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where goose notes what it has done; ours, because a live Flight Control database is not ours to mark.
const versionTable = "rollcall.goose_db_version"

// migrateLock is the key of the advisory lock that lets one migration run at a time in a database.
const migrateLock = 0x726f6c6c0001

// MigrateResult says which version of the schema a migration found, 0 for none, and which it left.
type MigrateResult struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Migrate brings the database of url to the schema that this program needs. It creates Flight Control's tables where
// they are missing and alters nothing of those that exist; our own are in the schema rollcall, which the role of Flight
// Control's backup may read. Several at the same time wait for each other, and on an up-to-date database it changes
// nothing.
func Migrate(ctx context.Context, url string) (result MigrateResult, err error) {
	err = alone(ctx, url, func(db *sql.DB) error {
		result, err = migrate(ctx, db)
		return orAs(err, "the owner of Flight Control's tables, such as flightctl_migrator, or a superuser")
	})
	return result, err
}

// RoleURL is the URL of a database for a program that has the rights of a role only, one of the package roles. The
// login in the URL must be a member of the role.
func RoleURL(database, role string) (string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return "", errors.New("the database's URL cannot be read") // the error has the password
	}
	query := u.Query()
	query.Set("role", role)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// CreateRoles creates the roles of the package roles, and grants each what its program needs in the database of url.
// The schema must be up to date. It may be repeated, and is to be repeated after a migration.
func CreateRoles(ctx context.Context, url string) error {
	return alone(ctx, url, func(db *sql.DB) error {
		if err := roles.Create(ctx, db); err != nil {
			return fmt.Errorf("create the roles: %w", orAs(err, "a superuser, once; the grants may be repeated by the owner"))
		}
		return nil
	})
}

// orAs says who may do what PostgreSQL has refused for want of a right.
func orAs(err error, who string) error {
	if refused := new(pq.Error); errors.As(err, &refused) && refused.Code == "42501" {
		return fmt.Errorf("%w; do it as %s", err, who)
	}
	return err
}

// alone runs do while no other migration of the database does.
func alone(ctx context.Context, url string, do func(db *sql.DB) error) error {
	s, err := open(ctx, url, pgdial.Unlimited)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer func() { _ = conn.Close() }() // ends the session as the pool closes, and the lock with it
	if _, err := conn.ExecContext(ctx, `select pg_advisory_lock($1)`, migrateLock); err != nil {
		return fmt.Errorf("wait for another migration: %w", err)
	}
	return do(s.db.DB)
}

func migrate(ctx context.Context, db *sql.DB) (MigrateResult, error) {
	if _, err := db.ExecContext(ctx, `create schema if not exists rollcall`); err != nil {
		return MigrateResult{}, fmt.Errorf("create the schema rollcall: %w", err)
	}
	provider, err := newProvider(db)
	if err != nil {
		return MigrateResult{}, err
	}
	from, err := provider.GetDBVersion(ctx)
	if err != nil {
		return MigrateResult{}, fmt.Errorf("read the version of the schema: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return MigrateResult{}, fmt.Errorf("migrate the schema: %w", err)
	}
	if err := roles.LetBackupRead(ctx, db); err != nil {
		return MigrateResult{}, err
	}
	to, err := provider.GetDBVersion(ctx)
	if err != nil {
		return MigrateResult{}, fmt.Errorf("read the version of the schema: %w", err)
	}
	return MigrateResult{From: from, To: to}, nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open the migrations: %w", err)
	}
	versions, err := database.NewStore(goose.DialectPostgres, versionTable)
	if err != nil {
		return nil, fmt.Errorf("open the version table: %w", err)
	}
	provider, err := goose.NewProvider("", db, files, goose.WithStore(versions), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}

// CheckSchema reports whether the database has the schema that this program needs. Otherwise the error says which it
// has and what to do: one that is missing or older is made by `starter migrate`, one that is newer needs a newer
// program.
func (s *Store) CheckSchema(ctx context.Context) error {
	provider, err := newProvider(s.db.DB)
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	want := sources[len(sources)-1].Version
	have, err := s.schemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case have == 0:
		return errors.New("the database has no Rollcall schema: run `starter migrate`")
	case have < want:
		return fmt.Errorf("the database has version %d of the Rollcall schema and this program needs %d: run "+
			"`starter migrate`", have, want)
	case have > want:
		return fmt.Errorf("the database has version %d of the Rollcall schema and this program knows %d: use a newer program",
			have, want)
	}
	return nil
}

// schemaVersion reads the version, or 0, without making the version table as goose would: a reader may lack the right.
func (s *Store) schemaVersion(ctx context.Context) (int64, error) {
	var exists bool
	if err := s.db.GetContext(ctx, &exists, `select to_regclass($1) is not null`, versionTable); err != nil {
		return 0, fmt.Errorf("look for the Rollcall schema: %w", err)
	}
	if !exists {
		return 0, nil
	}
	var version int64
	if err := s.db.GetContext(ctx, &version,
		`select coalesce(max(version_id), 0) from `+versionTable+` where is_applied`); err != nil {
		return 0, fmt.Errorf("read the version of the Rollcall schema: %w", err)
	}
	return version, nil
}
