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

// A driver that does not return, because its connection leads nowhere, must not keep later reports from being carried
// out.
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

// While the database stands still, reports grow old, and where more arrive than it can carry out they do as well.
// Those that can still be carried out in time are, as many as it is able to, and are not cut off by those that cannot.
func TestReportsAreNotCutOffByThoseThatAreTooLate(t *testing.T) {
	t.Parallel()
	const deadline, lasts = 2 * time.Second, 10 * time.Second
	for _, test := range []struct {
		perSecond    int
		takes, stall time.Duration
	}{
		{perSecond: 300, takes: 30 * time.Millisecond, stall: 2500 * time.Millisecond},
		{perSecond: 600, takes: 30 * time.Millisecond, stall: 2500 * time.Millisecond},
		{perSecond: 900, takes: 30 * time.Millisecond, stall: 2500 * time.Millisecond},
		{perSecond: 1200, takes: 30 * time.Millisecond, stall: 2500 * time.Millisecond},
		{perSecond: 90, takes: 300 * time.Millisecond, stall: 2500 * time.Millisecond},
		{perSecond: 30, takes: 700 * time.Millisecond},
		{perSecond: 20, takes: 800 * time.Millisecond},
		{perSecond: 30, takes: 800 * time.Millisecond},
		{perSecond: 5, takes: 900 * time.Millisecond},
		{perSecond: 30, takes: 900 * time.Millisecond},
		{perSecond: 120, takes: 300 * time.Millisecond},
		{perSecond: 200, takes: 300 * time.Millisecond},
		{perSecond: 200, takes: 800 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%d a second, %s for a statement, after %s", test.perSecond, test.takes, test.stall),
			func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					begun := time.Now()
					var cutOff, late, inTime atomic.Int64
					tg := &together{all: func(ctx context.Context, changes []change) ([]time.Time, error) {
						select {
						case <-time.After(max(test.takes, test.stall-time.Since(begun))):
							return slices.Repeat([]time.Time{time.Now()}, len(changes)), nil
						case <-ctx.Done():
							if time.Since(begun) > test.stall {
								cutOff.Add(1)
							}
							return nil, ctx.Err()
						}
					}}
					arrivals := test.perSecond * int(lasts.Seconds())
					for i := range arrivals {
						time.Sleep(time.Second / time.Duration(test.perSecond))
						isLate := time.Since(begun) > test.stall
						if isLate {
							late.Add(1)
						}
						go func() {
							ctx, stop := context.WithTimeout(t.Context(), deadline)
							defer stop()
							if _, ok, _ := tg.do(ctx, change{Name: fmt.Sprint("d", i)}); ok && isLate {
								inTime.Add(1)
							}
						}()
					}
					synctest.Wait()
					time.Sleep(deadline)
					synctest.Wait()
					if able := float64(statementsAtOnce*maxChanges) / test.takes.Seconds(); float64(test.perSecond) < able {
						require.GreaterOrEqual(t, inTime.Load(), late.Load()-1, "no one who reports after the stall is lost")
						require.Less(t, cutOff.Load(), int64(20))
					} else {
						require.GreaterOrEqual(t, float64(inTime.Load()), 0.9*able*(lasts-test.stall).Seconds(),
							"as many as it is able to")
					}
				})
			})
	}
}
