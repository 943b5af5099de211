package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
	"go.temporal.io/server/tools/common/schema"
	sqltool "go.temporal.io/server/tools/sql"
)

const (
	mainDatabase       = "temporal"
	visibilityDatabase = "temporal_visibility"
)

// databaseSchema is a database, and the directory of its schema among those that the server brings along.
type databaseSchema struct {
	database string
	name     string
}

var schemas = []databaseSchema{
	{mainDatabase, "postgresql/v12/temporal"},
	{visibilityDatabase, "postgresql/v12/visibility"},
}

// update applies what the schema lacks. An interrupted update goes on where it was.
func (s databaseSchema) update(cfg *config.SQL, logger log.Logger) error {
	conn, err := sqltool.NewConnection(cfg, logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Version 0.0 is the empty schema; over a newer one this changes nothing.
	setup := &schema.SetupConfig{InitialVersion: "0.0"}
	if err := schema.NewSetupSchemaTask(conn, setup, logger).Run(); err != nil {
		return err
	}
	update := &schema.UpdateConfig{DBName: s.database, SchemaName: s.name}
	return schema.NewUpdateSchemaTask(conn, update, logger).Run()
}

// lockKey is the advisory lock of members that start.
const lockKey = 0x726f6c6c

// lockDatabases creates the databases that are missing, and takes a lock in the first of them until unlock is called.
func lockDatabases(ctx context.Context, o *options) (unlock func(), err error) {
	if err := createDatabases(ctx, o); err != nil {
		return nil, err
	}
	db, err := sql.Open("postgres", o.url(mainDatabase))
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	// The lock belongs to the session.
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lockKey); err != nil {
		db.Close()
		return nil, fmt.Errorf("lock database %s: %w", mainDatabase, err)
	}
	return func() { db.Close() }, nil
}

func createDatabases(ctx context.Context, o *options) error {
	db, err := sql.Open("postgres", o.postgres.String())
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer db.Close()
	if err := checkConnections(ctx, db, o); err != nil {
		return err
	}
	for _, s := range schemas {
		if err := create(ctx, db, s.database); err != nil {
			return fmt.Errorf("create database %s: %w", s.database, err)
		}
	}
	return nil
}

// create also succeeds where another member is quicker.
func create(ctx context.Context, db *sql.DB, name string) error {
	var there bool
	err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE template0")
	var refused *pq.Error
	if errors.As(err, &refused) &&
		(refused.Code.Name() == "duplicate_database" || refused.Code.Name() == "unique_violation") {
		return nil
	}
	return err
}

// checkConnections refuses pools that PostgreSQL would not serve under load, when the refusal would be taken for a slow
// server.
func checkConnections(ctx context.Context, db *sql.DB, o *options) error {
	var limit int
	if err := db.QueryRowContext(ctx, "SELECT current_setting('max_connections')::int").Scan(&limit); err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if need := o.conns * len(temporal.DefaultServices) * len(schemas) * len(o.members); need >= limit {
		return fmt.Errorf("--conns %d can become %d connections (services, databases and members), and PostgreSQL's "+
			"max_connections is %d",
			o.conns, need, limit)
	}
	return nil
}
