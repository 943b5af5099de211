package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.temporal.io/sdk/client"
)

// TemporalOnPostgresConfig says where and how a Temporal server on a PostgreSQL of its own runs.
type TemporalOnPostgresConfig struct {
	// Dir holds the lock and the log of the server, and below "postgres" the cluster with its databases, created at the
	// first start.
	Dir string
	// Members is how many processes share the work as one cluster, each with all four services; 0 is 1.
	Members int
	// Port is the preferred TCP port on 127.0.0.1; each member takes four, one after the other. Where one of them is
	// taken, or 0, free ones are found.
	Port int
	// Namespace is created if need be; empty is "default".
	Namespace string
	// SearchAttributes are names to register with type Keyword.
	SearchAttributes []string
	// Shards is how many history shards the server has; 0 is its own default. A shard writes one transaction at a time, so
	// few of them make the whole wait for the disk. The first start settles it.
	Shards int
	// Conns is how many connections each of a member's four services may hold to each of the two databases; 0 is the
	// server's own default, which several members divide among them, rounded up.
	Conns int
	// AsyncCommit answers before a commit is on disk. A crash of PostgreSQL then loses the last moments.
	AsyncCommit bool
	// JWKSURI is the URL of the keys that sign its callers' tokens. The server then lets no one in without one, and writes
	// into histories who has called. Empty lets everybody in.
	JWKSURI string
	// Token is the JWT of an administrator, with which the namespace is created.
	Token string
	// Log gets warnings of the server; nil is the file "log" in Dir.
	Log io.Writer
	// Binary is the `temporal-postgres` command; empty is FindTemporalPostgres's.
	Binary string
}

// TemporalOnPostgres is a running Temporal server, of one or several processes, on a PostgreSQL of its own.
type TemporalOnPostgres struct {
	cfg      TemporalOnPostgresConfig
	postgres *Postgres
	lock     *os.File
	log      *serverLog
	ports    []int // of the members' frontends
	members  []*child
	done     chan struct{}
}

// StartTemporalOnPostgres starts a PostgreSQL and a Temporal server on it, and returns when all its members serve the
// namespace with its search attributes. ctx ends the attempt to start; servers that run are ended by Stop, or by our
// own end. Servers in the same directory that are still ending are waited for.
func StartTemporalOnPostgres(ctx context.Context, cfg TemporalOnPostgresConfig) (*TemporalOnPostgres, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	t := &TemporalOnPostgres{cfg: cfg}
	if err := t.prepare(ctx); err != nil {
		return nil, fmt.Errorf("start Temporal on PostgreSQL: %w", err)
	}
	// The server inherits both.
	defer t.lock.Close()
	defer t.log.close()
	var err error
	// What the server has written has to survive a crash as it does elsewhere, or the bench would flatter it.
	t.postgres, err = StartPostgres(ctx, PostgresConfig{Dir: filepath.Join(t.cfg.Dir, "postgres"), Durable: true})
	if err != nil {
		return nil, fmt.Errorf("start Temporal on PostgreSQL: %w", err)
	}
	if err := t.run(ctx); err != nil {
		return nil, errors.Join(err, t.postgres.Stop())
	}
	return t, nil
}

func (t *TemporalOnPostgres) prepare(ctx context.Context) error {
	var err error
	if t.cfg.Binary == "" {
		if t.cfg.Binary, err = FindTemporalPostgres(); err != nil {
			return err
		}
	}
	if t.cfg.Namespace == "" {
		t.cfg.Namespace = client.DefaultNamespace
	}
	if t.cfg.Dir == "" {
		return errors.New("no directory is given")
	}
	if t.cfg.Members < 0 {
		return fmt.Errorf("a cluster cannot have %d members", t.cfg.Members)
	}
	t.cfg.Members = max(t.cfg.Members, 1)
	if t.cfg.Dir, err = filepath.Abs(t.cfg.Dir); err != nil {
		return err
	}
	// PostgreSQL's user has to pass through.
	if err := makePassable(t.cfg.Dir); err != nil {
		return err
	}
	t.lock, t.log, err = claim(ctx, t.cfg.Dir, t.cfg.Log)
	return err
}

// Address is host:port of the first member's gRPC service.
func (t *TemporalOnPostgres) Address() string { return hostPort(t.ports[0]) }

// Addresses are host:port of all members' gRPC services. Any of them answers for the whole; clients that bring load
// have to spread it over all.
func (t *TemporalOnPostgres) Addresses() []string {
	var addresses []string
	for _, port := range t.ports {
		addresses = append(addresses, hostPort(port))
	}
	return addresses
}

// Namespace is the namespace that was created.
func (t *TemporalOnPostgres) Namespace() string { return t.cfg.Namespace }

// UIURL is empty: this server has no web UI.
func (t *TemporalOnPostgres) UIURL() string { return "" }

// PIDs are the members' process ids; that of their PostgreSQL is Postgres's.
func (t *TemporalOnPostgres) PIDs() []int {
	var pids []int
	for _, m := range t.members {
		pids = append(pids, m.cmd.Process.Pid)
	}
	return pids
}

// Postgres is the cluster that holds the server's databases, "temporal" and "temporal_visibility".
func (t *TemporalOnPostgres) Postgres() *Postgres { return t.postgres }

// Done is closed when a member has ended, whoever ended it: no one takes over what it served.
func (t *TemporalOnPostgres) Done() <-chan struct{} { return t.done }

// Stop ends the members and then their PostgreSQL. It may be called again.
func (t *TemporalOnPostgres) Stop() error { return errors.Join(t.stopMembers(), t.postgres.Stop()) }
