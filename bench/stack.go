package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"rollcall/bench/process"
	"rollcall/internal/devenv"
	"rollcall/inventory"
	"rollcall/runbook"
)

// The values of --server.
const (
	serverDev      = "dev"
	serverPostgres = "postgres"
)

// serverOptions say which Temporal server a bench runs on.
type serverOptions struct {
	kind string // a value of --server
	// members are the processes of a server on PostgreSQL, shards its history shards; 0 is its own default.
	members, shards int
	// cpu is how many cores each process may use once it serves; 0 is no limit.
	cpu float64
}

// temporalServer is a Temporal server that the bench has started.
type temporalServer interface {
	Address() string
	Stop() error
}

// stack is the servers of one bench run, in a directory that goes with it.
type stack struct {
	dir      string
	postgres *devenv.Postgres
	temporal temporalServer
	client   client.Client
	// addresses are host:port of all processes of the Temporal server, with commas (temporalAt).
	addresses string
	// memberPIDs are the processes of the Temporal server; serverPIDs are these and its database.
	memberPIDs, serverPIDs []int
	// temporalDir is where it stores.
	temporalDir string
	// inventories counts the databases that were made.
	inventories int
	stops       []func() error
}

func startStack(ctx context.Context, server string) (*stack, error) {
	return startStackOn(ctx, serverOptions{kind: server})
}

func startStackOn(ctx context.Context, server serverOptions) (*stack, error) {
	dir, err := os.MkdirTemp("", "rollcall-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the bench: %w", err)
	}
	s := &stack{dir: dir}
	s.onStop(func() error { return os.RemoveAll(dir) })
	if err := s.start(ctx, server); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *stack) start(ctx context.Context, server serverOptions) error {
	// PostgreSQL's own user must be able to pass through.
	if err := os.Chmod(s.dir, 0o711); err != nil {
		return fmt.Errorf("make a directory for the bench: %w", err)
	}
	group, starting := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		s.postgres, err = devenv.StartPostgres(starting,
			devenv.PostgresConfig{Dir: filepath.Join(s.dir, "postgres"), Durable: true})
		return err
	})
	group.Go(func() error { return s.startTemporal(starting, server) })
	err := group.Wait()
	if s.postgres != nil {
		s.onStop(s.postgres.Stop)
	}
	if s.temporal != nil {
		s.onStop(s.temporal.Stop)
	}
	if err != nil {
		return err
	}
	dial := temporalAt(s.addresses)
	dial.Logger = quiet{}
	s.client, err = client.DialContext(ctx, dial)
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	s.onStop(func() error { s.client.Close(); return nil })
	return s.limitServers(server.cpu)
}

// limitServers comes once all members serve, which would take long with little CPU time. The limits end before the
// servers are asked to end, for the same reason.
func (s *stack) limitServers(cores float64) error {
	if cores == 0 {
		return nil
	}
	for _, pid := range s.memberPIDs {
		g, err := limitCPU(pid, cores)
		if err != nil {
			return err
		}
		s.onStop(g.remove)
	}
	return nil
}

func (s *stack) startTemporal(ctx context.Context, server serverOptions) error {
	dir := filepath.Join(s.dir, "temporal")
	if server.kind == serverPostgres {
		t, err := devenv.StartTemporalOnPostgres(ctx, devenv.TemporalOnPostgresConfig{
			Dir: dir, SearchAttributes: runbook.SearchAttributes, Members: server.members, Shards: server.shards,
		})
		if err != nil {
			return err
		}
		s.temporal, s.addresses, s.temporalDir = t, strings.Join(t.Addresses(), ","), t.Postgres().Dir()
		s.memberPIDs, s.serverPIDs = t.PIDs(), append(t.PIDs(), t.Postgres().PID())
		return nil
	}
	t, err := devenv.StartTemporal(ctx,
		devenv.TemporalConfig{Dir: dir, UIPort: devenv.NoUI, SearchAttributes: runbook.SearchAttributes})
	if err != nil {
		return err
	}
	s.temporal, s.addresses, s.temporalDir = t, t.Address(), dir
	s.memberPIDs, s.serverPIDs = []int{t.PID()}, []int{t.PID()}
	return nil
}

func (s *stack) onStop(stop func() error) { s.stops = append(s.stops, stop) }

// stop ends what was started, in reverse order.
func (s *stack) stop() error {
	var errs []error
	for _, stop := range slices.Backward(s.stops) {
		errs = append(errs, stop())
	}
	s.stops = nil
	return errors.Join(errs...)
}

// newInventory makes a database of its own for a run.
func (s *stack) newInventory(ctx context.Context) (*inventory.Store, string, error) {
	s.inventories++
	url, err := s.postgres.CreateDatabase(ctx, fmt.Sprintf("bench_%d", s.inventories), "")
	if err != nil {
		return nil, "", err
	}
	if _, err := inventory.Migrate(ctx, url); err != nil {
		return nil, "", err
	}
	store, err := inventory.Open(ctx, url)
	return store, url, err
}

// sizes are those of what a roll call adds to an inventory (roll, audit, events) and of all that Temporal has stored,
// in MiB.
func (s *stack) sizes(ctx context.Context, store *inventory.Store) (ours, temporals float64, err error) {
	var bytes int64
	if err := store.DB().GetContext(ctx, &bytes, `
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and (n.nspname = 'rollcall' or n.nspname = 'public' and c.relname = 'events')`); err != nil {
		return 0, 0, fmt.Errorf("read the size of the inventory: %w", err)
	}
	var stored int64
	err = filepath.WalkDir(s.temporalDir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // PostgreSQL removes files now and then
		}
		if err == nil {
			stored += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read the size of Temporal's database: %w", err)
	}
	return float64(bytes) / process.MiB, float64(stored) / process.MiB, nil
}

// quiet is a logger for the bench's own client: what goes wrong comes back as an error.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
