package inventory

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A driver that does not return, because its connection leads nowhere, must not keep later reports from being carried out.
func TestAStatementThatDoesNotReturnHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	lost := make(chan struct{})
	t.Cleanup(func() { close(lost) })
	begun := make(chan struct{})
	tg := &together{all: func(_ context.Context, changes []change) ([]time.Time, error) {
		if changes[0].Name == "lost" {
			begun <- struct{}{}
			<-lost
		}
		return []time.Time{time.Now()}, nil
	}}
	for range statementsAtOnce {
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			<-begun
			leave()
		}()
		_, _, err := tg.do(ctx, change{Name: "lost"})
		require.ErrorIs(t, err, context.Canceled)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	_, ok, err := tg.do(ctx, change{Name: "d"})
	require.NoError(t, err)
	require.True(t, ok)
}

// While the database stands still, reports grow old. Once it answers again those that can still be carried out in time
// are, and are not cut off by those that cannot.
func TestReportsAreCarriedOutAgainAfterAStall(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []int{300, 600, 900} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const takes, stall, deadline = 30 * time.Millisecond, 2500 * time.Millisecond, 2 * time.Second
				begun := time.Now()
				var cutOff, inTime atomic.Int64
				tg := &together{all: func(ctx context.Context, changes []change) ([]time.Time, error) {
					select {
					case <-time.After(max(takes, stall-time.Since(begun))):
						return slices.Repeat([]time.Time{time.Now()}, len(changes)), nil
					case <-ctx.Done():
						if time.Since(begun) > stall {
							cutOff.Add(1)
						}
						return nil, ctx.Err()
					}
				}}
				for i := range 4 * perSecond {
					time.Sleep(time.Second / time.Duration(perSecond))
					late := time.Since(begun) > stall
					go func() {
						ctx, stop := context.WithTimeout(t.Context(), deadline)
						defer stop()
						if _, ok, _ := tg.do(ctx, change{Name: fmt.Sprint("d", i)}); ok && late {
							inTime.Add(1)
						}
					}()
				}
				synctest.Wait()
				time.Sleep(deadline)
				synctest.Wait()
				afterStall := int64(4*perSecond) - int64(stall.Seconds()*float64(perSecond))
				require.GreaterOrEqual(t, inTime.Load(), afterStall-1, "nobody who reports after the stall is lost")
				require.Less(t, cutOff.Load(), int64(20))
			})
		})
	}
}
