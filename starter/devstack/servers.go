package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"rollcall/internal/devenv"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

const workerLogFile = "worker.log"

// startServers starts both at once: each takes seconds, and neither needs the other.
func (s *stack) startServers(ctx context.Context) error {
	postgresLog, err := s.openLog("postgres.log")
	if err != nil {
		return err
	}
	temporalLog, err := s.openLog("temporal.log")
	if err != nil {
		return err
	}
	group, starting := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		s.postgres, err = devenv.StartPostgres(starting, devenv.PostgresConfig{
			Dir: filepath.Join(s.cfg.Dir, "postgres"), Durable: !s.cfg.Passing, Log: postgresLog,
		})
		return err
	})
	group.Go(func() (err error) {
		s.temporal, err = devenv.StartTemporal(starting, s.temporalConfig(temporalLog))
		return err
	})
	err = group.Wait()
	if s.postgres != nil {
		s.onStop(s.postgres.Stop)
		go s.watch("PostgreSQL", s.postgres.Done())
	}
	if s.temporal != nil {
		keeper := newKeeper(s.temporal, s.cfg.Say)
		s.onStop(keeper.stop)
		s.runUntilStop("Temporal", keeper.run)
	}
	return err
}

func (s *stack) temporalConfig(log io.Writer) devenv.TemporalConfig {
	cfg := devenv.TemporalConfig{
		Port: s.cfg.Port, UIPort: s.cfg.UIPort, Namespace: client.DefaultNamespace,
		SearchAttributes: runbook.SearchAttributes, Log: log,
	}
	if !s.cfg.Passing {
		cfg.Dir = filepath.Join(s.cfg.Dir, "temporal")
	}
	return cfg
}

// connect brings the schema up to date, makes the roles that are missing, and connects to both servers.
func (s *stack) connect(ctx context.Context) error {
	if _, err := inventory.Migrate(ctx, s.postgres.URL()); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	if err := inventory.CreateRoles(ctx, s.postgres.URL()); err != nil {
		return fmt.Errorf("create the roles in the database: %w", err)
	}
	err := errors.Join(
		s.open(ctx, &s.owner, "none"), s.open(ctx, &s.store, roles.Operator),
		s.open(ctx, &s.working, roles.Worker), s.open(ctx, &s.serving, roles.Gateway),
	)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	workerLog, err := s.openLog(workerLogFile)
	if err != nil {
		return err
	}
	s.workerLog = slog.New(slog.NewTextHandler(workerLog, nil))
	// Not by the environment and its profiles, as other commands do: those are the operator's, and this server is ours.
	options := client.Options{
		HostPort: s.temporal.Address(), Namespace: s.temporal.Namespace(),
		Logger: log.NewStructuredLogger(s.workerLog),
	}
	host.DisableStickyQueue(&options)
	s.client, err = client.DialContext(ctx, options)
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	s.onStop(func() error { s.client.Close(); return nil })
	return nil
}

// open connects to the database with the rights of a role; "none" is the owner.
func (s *stack) open(ctx context.Context, store **inventory.Store, role string) error {
	url, err := inventory.RoleURL(s.postgres.URL(), role)
	if err != nil {
		return err
	}
	opened, err := inventory.Open(ctx, url)
	if err != nil {
		return fmt.Errorf("as %s: %w", role, err)
	}
	*store = opened
	s.onStop(opened.Close)
	return nil
}

// startWorker runs the worker until stop.
func (s *stack) startWorker(ctx context.Context) error {
	cfg := host.Config{Client: s.client, Store: s.working, TaskQueue: s.queue, Logger: s.workerLog}
	if s.beside != nil {
		cfg.Flightctl = s.beside
	}
	worker, err := host.New(ctx, cfg)
	if err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	s.runUntilStop("the worker", worker.Run)
	return nil
}

// runUntilStop runs a part inside this process until stop, and tells where it ends by itself.
func (s *stack) runUntilStop(part string, run func(context.Context) error) {
	running, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(running)
		if running.Err() == nil {
			s.ended <- &partEnded{part: part, logs: s.logDir(), err: err}
		}
		done <- err
	}()
	s.onStop(func() error {
		cancel()
		if err := <-done; err != nil {
			return fmt.Errorf("stop %s: %w", part, err)
		}
		return nil
	})
}

func (s *stack) logDir() string { return filepath.Join(s.cfg.Dir, "logs") }

// openLog begins a log again: what it held is about servers that run no more.
func (s *stack) openLog(name string) (*os.File, error) {
	if err := os.MkdirAll(s.logDir(), 0o700); err != nil {
		return nil, fmt.Errorf("create directory for logs: %w", err)
	}
	file, err := os.Create(filepath.Join(s.logDir(), name))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	s.onStop(file.Close)
	return file, nil
}

// lastOfWorkerLog is the end of the worker's log, for whoever asks why something failed.
func (s *stack) lastOfWorkerLog() string {
	const lines = 15
	text, err := os.ReadFile(filepath.Join(s.logDir(), workerLogFile))
	if err != nil {
		return err.Error() + "\n"
	}
	all := strings.SplitAfter(string(text), "\n")
	return strings.Join(all[max(0, len(all)-lines-1):], "")
}
