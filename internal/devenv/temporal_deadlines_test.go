package devenv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// Two faults of the server's SQLite driver, modernc.org/sqlite, made every later write fail after a caller gave up,
// while the server's health said SERVING. Until 1.44 a statement that was given up stayed open and its connection
// interrupted. Some later versions dropped such a connection, and with it a database in memory.
func TestTemporalOutlivesClientsThatGiveUp(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"in memory": "", "in a file": filepath.Join(t.TempDir(), "temporal")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startTemporal(t, TemporalConfig{Dir: dir, UIPort: NoUI})
			c := dial(t, s)
			gaveUp := giveUp(t, c, 8*time.Second)
			require.Greater(t, gaveUp, 100, "too few clients gave up to say anything")

			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "patient", TaskQueue: "nobody"}, "Nothing")
			require.NoError(t, err, "after %d clients gave up", gaveUp)
		})
	}
}

// giveUp calls the server with deadlines that many calls do not meet, and returns how many did not.
func giveUp(t *testing.T, c client.Client, length time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	calls := []func(ctx context.Context, id string) error{
		func(ctx context.Context, id string) error {
			_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "nobody"}, "Nothing")
			return err
		},
		func(ctx context.Context, _ string) error {
			_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{})
			return err
		},
		func(ctx context.Context, _ string) error {
			_, err := c.WorkflowService().ListNamespaces(ctx, &workflowservice.ListNamespacesRequest{})
			return err
		},
		func(ctx context.Context, id string) error {
			_, err := c.GetWorkflowHistory(ctx, id, "", false, 0).Next()
			return err
		},
	}
	var gaveUp atomic.Int64
	var callers sync.WaitGroup
	for caller := range 8 * len(calls) {
		callers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.Int64N(int64(40*time.Millisecond))))
				call := calls[(caller+i)%len(calls)]
				_ = call(ctx, fmt.Sprint("hasty-", caller, "-", i/len(calls)))
				if ctx.Err() != nil {
					gaveUp.Add(1)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	return int(gaveUp.Load())
}
