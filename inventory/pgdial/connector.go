package pgdial

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// Connector opens the connections of one pool.
type Connector struct{ pq *pq.Connector }

// NewConnector makes the connector for a database URL, or a "key=value" string, whose sessions have the limits where
// it says nothing else. Its errors show nothing of it.
func NewConnector(database string, limits Limits) (*Connector, error) {
	cfg, err := Config(database)
	if err != nil {
		return nil, err
	}
	limits.apply(&cfg)
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, unreadable(reason(err))
	}
	connector.Dialer(New())
	return &Connector{connector}, nil
}

// Driver is the driver below.
func (c *Connector) Driver() driver.Driver { return c.pq.Driver() }

// Connect opens one connection.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.pq.Connect(ctx)
	if err != nil {
		return nil, explain(err)
	}
	return &conn{pqConn: opened.(pqConn)}, nil
}

// explain says what to do about an error. One that quotes a parameter of the URL is replaced: where a password was not
// encoded, that is a piece of it.
func explain(err error) error {
	if refused := pq.As(err, pqerror.UndefinedObject, pqerror.InvalidParameterValue); refused != nil {
		return fmt.Errorf("PostgreSQL does not take a parameter of the database URL (SQLSTATE %s; parameters are not shown, "+
			"since a password that is not quoted or percent-encoded becomes one)", refused.Code)
	}
	said := err.Error()
	switch {
	case strings.Contains(said, "unsupported startup parameter"):
		return ErrPooler
	case strings.Contains(said, "session is read-only"), strings.Contains(said, "in hot standby mode"):
		return fmt.Errorf("no server of the database URL can be written to; name all that may take over, as in "+
			"postgres://USER@HOST1,HOST2/DATABASE: %w", err)
	}
	return err
}

// ErrPooler is for a pooler that hands one server's session to many clients: the limits of a session are lost or
// refused there, and prepared statements and locks of a session would be another client's.
var ErrPooler = errors.New("a connection pooler such as PgBouncer stands before PostgreSQL and does not keep the " +
	"settings of a " +
	"session, which free the locks of a lost host: let the database URL lead to PostgreSQL itself")

// Kept is a query that reports whether the session has the limits that were asked for when it was opened.
const Kept = "select count(*) = 2 from pg_catalog.pg_settings where name in ('" + idleTimeout + "', '" + lockTimeout +
	"') " +
	"and source = 'client'"
