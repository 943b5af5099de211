package simulator_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A dial that is given up leaves no goroutine: one that is left over would fail the test of an agent that ends while it
// connects.
func TestADialThatIsGivenUpLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newPipes().dial(ctx, "", "")
		require.ErrorIs(t, err, context.Canceled)
	})
}
