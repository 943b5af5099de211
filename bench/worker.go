package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"rollcall/internal/host"
	"rollcall/inventory"
)

// readyFile is inherited by a process that the bench starts, which writes to it where it listens.
const readyFile = 3

// workerOptions say what a worker process works for.
type workerOptions struct {
	// address is Temporal's host:port, or several with commas (temporalAt).
	address, database, queue string
	floor                    bool
	// cpu is how many cores the process may use, to which the bench holds it once it is about to poll; 0 is no limit.
	cpu float64
}

// newWorkerCommand is one worker process, as a roll call starts it: the worker itself, or with --floor the floor's.
func newWorkerCommand() *cobra.Command {
	var o workerOptions
	cmd := &cobra.Command{
		Use: "worker", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(untilLeft(cmd.Context())) },
	}
	cmd.Flags().StringVar(&o.address, "address", "", "Temporal's host:port, or several with commas")
	cmd.Flags().StringVar(&o.database, "database", "", "URL of the inventory")
	cmd.Flags().StringVar(&o.queue, "queue", "", "task queue")
	cmd.Flags().BoolVar(&o.floor, "floor", false, "work for the floor")
	return cmd
}

// untilLeft ends with ctx, and when the bench that has started this process is gone, even by SIGKILL.
func untilLeft(ctx context.Context) context.Context {
	ctx, left := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		left(errors.New("the bench has ended"))
	}()
	return ctx
}

func (o workerOptions) args() []string {
	args := []string{"worker", "--address", o.address, "--database", o.database, "--queue", o.queue}
	if o.floor {
		args = append(args, "--floor")
	}
	return args
}

func (o workerOptions) run(ctx context.Context) error {
	store, err := inventory.Open(ctx, o.database)
	if err != nil {
		return err
	}
	defer store.Close()
	counter := newCounter()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	dial := temporalAt(o.address)
	dial.Logger = log.NewStructuredLogger(logger)
	host.DisableStickyQueue(&dial)
	c, err := client.DialContext(ctx, dial)
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	defer c.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve the counts: %w", err)
	}
	defer listener.Close()
	server := &http.Server{Handler: counter, ReadHeaderTimeout: time.Second}
	go server.Serve(listener) //nolint:errcheck // ends with the process
	options := host.WorkerOptions()
	options.Interceptors = []interceptor.WorkerInterceptor{counter}
	if o.floor {
		w := worker.New(c, o.queue, options)
		registerFloor(w, store)
		if err := sayReady(listener.Addr()); err != nil {
			return err
		}
		if err := w.Start(); err != nil {
			return fmt.Errorf("start the floor's worker: %w", err)
		}
		<-ctx.Done()
		w.Stop()
		return nil
	}
	h, err := host.New(ctx, host.Config{Client: c, Store: store, TaskQueue: o.queue, Logger: logger, Worker: &options})
	if err != nil {
		return err
	}
	if err := sayReady(listener.Addr()); err != nil {
		return err
	}
	return h.Run(ctx)
}
