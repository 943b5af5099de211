package inventory

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A statement carries out one change of a device at most, because the second would be decided before the first has
// counted.
func TestAStatementHoldsADeviceOnce(t *testing.T) {
	t.Parallel()
	const changes = 12
	asking := make(chan struct{})
	var taken atomic.Int64
	var mu sync.Mutex
	var statements [][]change
	shared := &together{all: func(_ context.Context, some []change) ([]time.Time, error) {
		taken.Add(int64(len(some)))
		<-asking // until all changes wait or are under way
		mu.Lock()
		defer mu.Unlock()
		statements = append(statements, some)
		at := make([]time.Time, len(some))
		for i := range at {
			at[i] = time.Now()
		}
		return at, nil
	}}
	var done sync.WaitGroup
	failed := make([]error, changes)
	for i := range changes {
		done.Go(func() {
			// Organisations may have devices of the same name, which are others.
			c := change{OrgID: []string{"a", "b"}[i%2], Name: []string{"d", "e"}[i/2%2]}
			_, ok, err := shared.do(t.Context(), c)
			if err == nil && !ok {
				err = errors.New("it was not carried out")
			}
			failed[i] = err
		})
	}
	require.Eventually(t, func() bool {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		return len(shared.waiting)+int(taken.Load()) == changes
	}, time.Minute, time.Millisecond)
	close(asking)
	done.Wait()
	carriedOut, together := 0, 0
	for _, some := range statements {
		held := map[[2]string]bool{}
		for _, c := range some {
			device := [2]string{c.OrgID, c.Name}
			require.False(t, held[device], "%v is in one statement twice", device)
			held[device] = true
		}
		carriedOut += len(some)
		together = max(together, len(some))
	}
	require.Equal(t, changes, carriedOut)
	require.Greater(t, together, 1, "different devices share a statement")
	for _, err := range failed {
		require.NoError(t, err)
	}
}
