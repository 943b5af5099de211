package devenv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// PostgresConfig says where and how a private PostgreSQL cluster runs.
type PostgresConfig struct {
	// Dir holds the cluster's files, created at the first start. As root it may stand elsewhere, see FallbackRoot.
	Dir string
	// Port is the preferred TCP port on 127.0.0.1; where it is taken, or 0, a free one is found.
	Port int
	// Durable keeps what was committed through a crash of the machine. Without it the cluster is quicker, and lost then.
	Durable bool
	// Log gets what the server says; nil is the file "log" beside the cluster's data.
	Log io.Writer
}

// Postgres is a running private cluster.
type Postgres struct {
	cluster
	port   int
	server *child
}

const (
	// startLimit is for the recovery after a crash, on a slow disk.
	startLimit = 2 * time.Minute
	stopLimit  = 30 * time.Second
	// startAttempts is for the case that someone takes the free port before the server does.
	startAttempts = 3
	databaseName  = "rollcall"
)

// StartPostgres starts the cluster in cfg.Dir, and creates it and the database "rollcall" the first time. It returns
// when the server answers. ctx ends the attempt to start; a server that runs is ended by Stop, or by our own end. A
// server in the same directory that is still ending is waited for.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c, err := openCluster(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &Postgres{cluster: *c}
	// The server inherits the lock; ours would outlive it.
	defer p.lock.Close()
	defer p.log.close()
	if err := p.run(ctx, cfg.Port); err != nil {
		return nil, err
	}
	if err := p.createOurDatabase(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Postgres) run(ctx context.Context, wanted int) error {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(wanted)
		if err != nil {
			return err
		}
		p.port = ports[0]
		p.server, err = start(p.program(p.port))
		if err != nil {
			return err
		}
		err = p.server.waitUntil(ctx, p.ping)
		if err == nil {
			return nil
		}
		taken := ctx.Err() == nil && !portIsFree(p.port)
		if stopErr := p.Stop(); stopErr != nil {
			return errors.Join(err, stopErr)
		}
		if !taken || attempt == startAttempts {
			return err
		}
	}
}

// URL is the connection string of the database "rollcall".
func (p *Postgres) URL() string { return p.url(databaseName) }

func (p *Postgres) url(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, p.password),
		Host:     hostPort(p.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Dir is where the cluster's files stand, and PID the server's process id.
func (p *Postgres) Dir() string { return p.dir }

// PID is the server's process id.
func (p *Postgres) PID() int { return p.server.cmd.Process.Pid }

// Done is closed when the server has ended, whoever ended it.
func (p *Postgres) Done() <-chan struct{} { return p.server.done }

// Stop ends the server: sessions are rolled back and everything committed is on disk. It may be called again.
func (p *Postgres) Stop() error { return p.server.stop(stopLimit) }

// CreateDatabase creates a database as a copy of template, or an empty one where template is "", and returns its URL. A
// template must have no open connections.
func (p *Postgres) CreateDatabase(ctx context.Context, name, template string) (string, error) {
	if template == "" {
		template = "template0"
	}
	db, err := sql.Open("postgres", p.url("postgres"))
	if err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE "+pq.QuoteIdentifier(template))
	if err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return p.url(name), nil
}

func (p *Postgres) createOurDatabase(ctx context.Context) error {
	_, err := p.CreateDatabase(ctx, databaseName, "")
	if pq.As(err, pqerror.DuplicateDatabase, pqerror.ReadOnlySQLTransaction) != nil {
		return nil // a cluster that was made a standby has what it had before
	}
	return err
}

func (p *Postgres) ping(ctx context.Context) error {
	db, err := sql.Open("postgres", p.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

func (p *Postgres) program(port int) program {
	args := []string{
		"-D", filepath.Join(p.dir, dataDir), "-p", strconv.Itoa(port),
		"-c", "listen_addresses=" + loopback, "-c", "unix_socket_directories=",
		"-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC",
	}
	if !p.durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
	}
	return program{
		name: "PostgreSQL", path: filepath.Join(p.bin, "postgres"), args: args, user: p.user,
		// SIGINT is PostgreSQL's "fast" shutdown: it does not wait for its clients to leave.
		end: sigInterrupt, lock: p.lock, log: p.log, ignore: "PG",
	}
}
