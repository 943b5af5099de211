package inventory

import (
	"context"
	"testing"
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
	_, ok, err := tg.do(t.Context(), change{Name: "d"})
	require.NoError(t, err)
	require.True(t, ok)
}
