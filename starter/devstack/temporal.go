package devstack

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"rollcall/internal/devenv"
)

const (
	// checkEvery is how often Temporal is asked to write, and checkLimit how long it may take.
	checkEvery = 5 * time.Second
	checkLimit = 10 * time.Second
	// failsFor is how long each write must have failed before Temporal is restarted. A busy machine takes seconds.
	failsFor = 30 * time.Second
)

// keeper restarts the Temporal server when it lives and no longer works: its database can fail at every write while its
// health says SERVING.
type keeper struct {
	say io.Writer
	// every, limit and failsFor are the constants; tests wait less.
	every, limit, failsFor time.Duration

	mu     sync.Mutex
	server *devenv.Temporal
}

func newKeeper(server *devenv.Temporal, say io.Writer) *keeper {
	return &keeper{server: server, say: say, every: checkEvery, limit: checkLimit, failsFor: failsFor}
}

// run checks the server until ctx is done, the server ends, or it cannot be restarted, which is the error.
func (k *keeper) run(ctx context.Context) error {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	var since time.Time // the first write that failed of those that failed in a row
	for {
		server := k.current()
		select {
		case <-ctx.Done():
			return nil
		case <-server.Done():
			return nil
		case <-tick.C:
		}
		began := time.Now()
		err := k.check(ctx, server)
		switch {
		case err == nil:
			since = time.Time{}
		case ctx.Err() != nil:
			return nil
		case since.IsZero():
			since = began
		case time.Since(since) >= k.failsFor:
			if err := k.restart(ctx, server, time.Since(since), err); err != nil {
				return err
			}
			since = time.Time{}
		}
	}
}

func (k *keeper) check(ctx context.Context, server *devenv.Temporal) error {
	ctx, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	return server.Works(ctx)
}

func (k *keeper) restart(ctx context.Context, server *devenv.Temporal, failed time.Duration, cause error) error {
	fmt.Fprintf(k.say, "warning: Temporal runs and has not stored anything for %s (%v); restarting it on its files\n",
		failed.Round(time.Second), cause)
	again, err := server.Restart(ctx)
	if err != nil {
		return fmt.Errorf("the Temporal server runs and stores nothing (%w): %w", cause, err)
	}
	k.mu.Lock()
	k.server = again
	k.mu.Unlock()
	fmt.Fprintln(k.say, "Temporal works again")
	return nil
}

func (k *keeper) current() *devenv.Temporal {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.server
}

// stop ends the server that runs now.
func (k *keeper) stop() error { return k.current().Stop() }
