package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/sdk/client"
)

// TemporalOnPostgresConfig says where and how a Temporal server on a PostgreSQL of its own runs.
type TemporalOnPostgresConfig struct {
	// Dir holds the lock and the log of the server, and below "postgres" the cluster with its databases, created at the
	// first start.
	Dir string
	// Port is the preferred TCP port on 127.0.0.1; the server takes it and the next three. Where one of them is taken, or 0,
	// free ones are found.
	Port int
	// Namespace is created if need be; empty is "default".
	Namespace string
	// SearchAttributes are names to register with type Keyword.
	SearchAttributes []string
	// Shards is how many history shards the server has; 0 is its own default. A shard writes one transaction at a time, so
	// few of them make the whole wait for the disk. The first start settles it.
	Shards int
	// Conns is how many connections each of the four services may hold to each of the two databases; 0 is the server's own
	// default.
	Conns int
	// AsyncCommit answers before a commit is on disk. A crash of PostgreSQL then loses the last moments.
	AsyncCommit bool
	// Log gets warnings of the server; nil is the file "log" in Dir.
	Log io.Writer
	// Binary is the `temporal-postgres` command; empty is FindTemporalPostgres's.
	Binary string
}

// TemporalOnPostgres is a running Temporal server on a PostgreSQL of its own. It has the methods of Temporal.
type TemporalOnPostgres struct {
	cfg      TemporalOnPostgresConfig
	postgres *Postgres
	lock     *os.File
	log      *serverLog
	port     int
	server   *child
}

// portsOfTemporal is how many ports in a row `temporal-postgres` takes.
const portsOfTemporal = 4

// StartTemporalOnPostgres starts a PostgreSQL and a Temporal server on it, and returns when the server serves the namespace
// with its search attributes. ctx ends the attempt to start; servers that run are ended by Stop, or by our own end. Servers
// in the same directory that are still ending are waited for.
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

func (t *TemporalOnPostgres) run(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		var err error
		if t.port, err = freePortBlock(t.cfg.Port, portsOfTemporal); err != nil {
			return err
		}
		if t.server, err = start(t.program()); err != nil {
			return err
		}
		err = t.waitUntilServing(ctx)
		if err == nil {
			return nil
		}
		if stopErr := t.stopServer(); stopErr != nil {
			return errors.Join(err, stopErr)
		}
		// Where the server has ended, what holds a port is somebody else.
		if ctx.Err() != nil || blockIsFree(t.port, portsOfTemporal) || attempt == startAttempts {
			return err
		}
	}
}

// Address is host:port of the server's gRPC service.
func (t *TemporalOnPostgres) Address() string { return hostPort(t.port) }

// Namespace is the namespace that was created.
func (t *TemporalOnPostgres) Namespace() string { return t.cfg.Namespace }

// UIURL is empty: this server has no web UI.
func (t *TemporalOnPostgres) UIURL() string { return "" }

// PID is the Temporal server's process id; that of its PostgreSQL is Postgres's.
func (t *TemporalOnPostgres) PID() int { return t.server.cmd.Process.Pid }

// Postgres is the cluster that holds the server's databases, "temporal" and "temporal_visibility".
func (t *TemporalOnPostgres) Postgres() *Postgres { return t.postgres }

// Done is closed when the Temporal server has ended, whoever ended it.
func (t *TemporalOnPostgres) Done() <-chan struct{} { return t.server.done }

// Stop ends the server and then its PostgreSQL. It may be called again.
func (t *TemporalOnPostgres) Stop() error { return errors.Join(t.stopServer(), t.postgres.Stop()) }

// onPostgresStopLimit: the server's services end one after the other, each with a moment for its clients.
const onPostgresStopLimit = 30 * time.Second

func (t *TemporalOnPostgres) stopServer() error { return t.server.stop(onPostgresStopLimit) }

func (t *TemporalOnPostgres) program() program {
	args := []string{"--port", strconv.Itoa(t.port)}
	if t.cfg.Shards != 0 {
		args = append(args, "--shards", strconv.Itoa(t.cfg.Shards))
	}
	if t.cfg.Conns != 0 {
		args = append(args, "--conns", strconv.Itoa(t.cfg.Conns))
	}
	if t.cfg.AsyncCommit {
		args = append(args, "--async-commit")
	}
	return program{
		name: "Temporal on PostgreSQL", path: t.cfg.Binary, args: args,
		end: sigTerminate, lock: t.lock, log: t.log, ignore: "TEMPORAL_",
		// The password does not belong on a command line, which everybody can read.
		env: []string{"TEMPORAL_POSTGRES_URL=" + t.postgres.URL()},
	}
}
