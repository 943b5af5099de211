package pgdial

import (
	"context"
	"database/sql/driver"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// pqConn is what the driver's connections can do.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// conn is a connection that its pool drops once its server has refused a write (SQLSTATE 25006): the server was
// demoted, and the next connection leads to the one that has taken over.
type conn struct {
	pqConn
	readOnly bool
}

// BeginTx begins a transaction. The driver asks for one that writes, which a standby refuses with a code of its own.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.pqConn.BeginTx(ctx, opts)
	if pq.As(err, pqerror.FeatureNotSupported) != nil {
		c.readOnly = true
	}
	return tx, c.seen(err)
}

// seen takes note of an error, and returns it.
func (c *conn) seen(err error) error {
	if pq.As(err, pqerror.ReadOnlySQLTransaction) != nil {
		c.readOnly = true
	}
	return err
}

// IsValid reports whether the pool may keep the connection.
func (c *conn) IsValid() bool { return !c.readOnly && c.pqConn.IsValid() }

// ResetSession makes the connection ready for its next use.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.readOnly {
		return driver.ErrBadConn
	}
	return c.pqConn.ResetSession(ctx)
}

// ExecContext runs a statement.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.pqConn.ExecContext(ctx, query, args)
	return result, c.seen(err)
}

// QueryContext runs a statement that returns rows.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.pqConn.QueryContext(ctx, query, args)
	return rows, c.seen(err)
}

// PrepareContext prepares a statement.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	prepared, err := c.pqConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, c.seen(err)
	}
	return &stmt{prepared.(pqStmt), c}, nil
}

// pqStmt is what the driver's statements can do.
type pqStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type stmt struct {
	pqStmt
	conn *conn
}

// ExecContext runs the statement.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.pqStmt.ExecContext(ctx, args)
	return result, s.conn.seen(err)
}

// QueryContext runs the statement, which returns rows.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.pqStmt.QueryContext(ctx, args)
	return rows, s.conn.seen(err)
}
