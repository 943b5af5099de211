package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.temporal.io/sdk/client"

	"rollcall/devenv"
	"rollcall/host"
	"rollcall/inventory"
	"rollcall/runbook"
)

const (
	envDatabaseURL = "ROLLCALL_DATABASE_URL"
	envTaskQueue   = "ROLLCALL_TASK_QUEUE"
)

// connectTimeout bounds how long a command waits for the database to answer at all.
const connectTimeout = 10 * time.Second

// globals are the flags that every command knows, and the way to the database and to Temporal.
type globals struct {
	io          IO
	databaseURL string
	taskQueue   string
	org         string
}

func (g *globals) bind(flags *pflag.FlagSet) {
	flags.StringVar(&g.databaseURL, "database-url", "", "PostgreSQL `URL` (default $"+envDatabaseURL+")")
	flags.StringVar(&g.taskQueue, "task-queue", "", "Temporal task `queue` of the workers (default $ROLLCALL_TASK_QUEUE, else \""+runbook.DefaultTaskQueue+"\")")
	flags.StringVar(&g.org, "org", "", "`organisation`: its UUID, external id, display name, or \"default\" (restore: default is all of them)")
}

// openStore connects to the database and checks that its schema is the one this program was built for. The caller closes
// the store.
func (g *globals) openStore(ctx context.Context) (*inventory.Store, error) {
	url, err := g.database()
	if err != nil {
		return nil, err
	}
	connect, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	store, err := inventory.Open(connect, url)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := store.CheckSchema(connect); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// database is the URL of the database: the flag, the environment, or what a running `starter dev` wrote beside it.
func (g *globals) database() (string, error) {
	if g.databaseURL != "" {
		return g.databaseURL, nil
	}
	if err := g.findDev(); err != nil {
		return "", err
	}
	if url, ok := g.io.Env(envDatabaseURL); ok && url != "" {
		return url, nil
	}
	return "", errors.New("no database is known: set " + envDatabaseURL + " or --database-url, or run the command in the folder of a running `starter dev`")
}

// findDev takes over what a `starter dev` that runs in this folder says in .rollcall/env. Who says which database they mean
// means Temporal to be somewhere else as well.
func (g *globals) findDev() error {
	if g.databaseURL != "" {
		return nil
	}
	if _, err := devenv.LoadEnv(filepath.Join(g.io.Dir, devenv.DefaultDir)); err != nil {
		return fmt.Errorf("look for a running `starter dev`: %w", err)
	}
	return nil
}

// dial connects to Temporal. The caller closes the client.
func (g *globals) dial(ctx context.Context) (client.Client, error) {
	if err := g.findDev(); err != nil {
		return nil, err
	}
	return g.io.Dial(ctx, host.DialOptions{Logger: g.logger()})
}

// logger takes what libraries have to say. People at a command line want its errors only.
func (g *globals) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(g.io.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// queue is the task queue that workflows are started on.
func (g *globals) queue() string {
	if g.taskQueue != "" {
		return g.taskQueue
	}
	if queue, ok := g.io.Env(envTaskQueue); ok && queue != "" {
		return queue
	}
	return runbook.DefaultTaskQueue
}

// orgID is the UUID of the organisation that the command works in: the one of --org, or the default one.
func (g *globals) orgID(ctx context.Context, store *inventory.Store) (string, error) {
	ref := g.org
	if ref == "" {
		ref = runbook.DefaultOrg
	}
	id, err := store.ResolveOrg(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("find organisation %q: %w", ref, err)
	}
	return id, nil
}
