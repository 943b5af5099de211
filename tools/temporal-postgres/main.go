// Temporal-postgres runs a Temporal server on PostgreSQL in one process: the server that the benches compare with the
// development server, whose SQLite takes one writer at a time. It creates the databases and brings their schema up to
// date first.
//
// It is a module of its own so that the server's many dependencies stay out of Rollcall's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	o, err := parse(os.Args[1:], os.Getenv(envURL))
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(exitUsage)
	}
	// A second signal ends us at once.
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore)
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(exitFailed)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, o *options) error {
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: o.logLevel, Format: "console"}))
	server, err := prepare(ctx, o, logger)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	fmt.Printf("Temporal serves on %s\n", hostPort(o.port))
	<-ctx.Done()
	if err := server.Stop(); err != nil {
		return fmt.Errorf("stop server: %w", err)
	}
	return nil
}

// prepare brings the databases up to date and builds the server, which writes the cluster's metadata. Members that
// start at the same time take turns.
func prepare(ctx context.Context, o *options, logger log.Logger) (temporal.Server, error) {
	unlock, err := lockDatabases(ctx, o)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, s := range schemas {
		if err := s.update(o.sql(s.database), logger); err != nil {
			return nil, fmt.Errorf("prepare database %s: %w", s.database, err)
		}
	}
	server, err := temporal.NewServer(serverOptions(o, logger)...)
	if err != nil {
		return nil, fmt.Errorf("build server: %w", err)
	}
	return server, nil
}
