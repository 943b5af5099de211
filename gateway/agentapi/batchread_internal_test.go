package agentapi

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
)

// However many polls are held, they look together, and each is told of its own device.
func TestHeldPollsLookTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		var reads []int
		l := newBatchReader(time.Minute, func(_ context.Context, names []string) (map[string]inventory.AgentDevice, error) {
			reads = append(reads, len(names))
			if len(reads) == 4 {
				return nil, away
			}
			found := map[string]inventory.AgentDevice{}
			for _, name := range names {
				if name != "gone" {
					found[name] = inventory.AgentDevice{Name: name}
				}
			}
			return found, nil
		})
		looked := map[string]*batchRead{"gone": l.join("gone")}
		for i := range 2*batchReadSize + 9 {
			name := fmt.Sprintf("d-%d", i)
			looked[name] = l.join(name)
			synctest.Wait()
		}
		began := time.Now()
		for name, one := range looked {
			<-one.done
			d, found, err := one.device(name)
			require.NoError(t, err)
			require.Equal(t, name != "gone", found)
			require.True(t, !found || d.Name == name)
		}
		require.Equal(t, []int{batchReadSize, batchReadSize, 10}, reads)
		require.Equal(t, time.Second, time.Since(began), "for as long the first waits for others")

		one, other := l.join("d-1"), l.join("d-2")
		<-one.done
		_, _, err := one.device("d-1")
		require.ErrorIs(t, err, away)
		_, _, err = other.device("d-2")
		require.ErrorIs(t, err, away)
		require.Len(t, reads, 4)
	})
}

// A slow database is not asked by all polls side by side, and whoever is not read is not taken for missing.
func TestFewLooksAreUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var underWay atomic.Int64
		stuck := make(chan struct{})
		l := newBatchReader(time.Minute, func(context.Context, []string) (map[string]inventory.AgentDevice, error) {
			underWay.Add(1)
			<-stuck
			return nil, nil
		})
		for i := range 4 * batchReadSize {
			l.join(fmt.Sprintf("d-%d", i))
		}
		last := l.join("last")
		synctest.Wait()
		require.EqualValues(t, batchReadsAtOnce, underWay.Load())
		l.stop()
		<-last.done
		_, found, err := last.device("last")
		require.False(t, found)
		require.ErrorIs(t, err, errNotRead, "the gateway ends")
		close(stuck)
	})
}
