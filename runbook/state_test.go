package runbook_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestTheRollCountsWhileADeviceWaits(t *testing.T) {
	t.Parallel()
	awaiting, paused, normal := runbook.StateAwaitingReconnect, runbook.StateConflictPaused, runbook.StateNormal
	for _, c := range []struct{ roll, annotated, want runbook.State }{
		{awaiting, awaiting, awaiting},
		{awaiting, paused, awaiting},
		{awaiting, normal, awaiting},
		{paused, awaiting, awaiting},
		{paused, paused, paused},
		{paused, normal, paused},
		{normal, awaiting, normal},
		{runbook.StateWithdrawn, paused, runbook.StateWithdrawn},
	} {
		require.Equal(t, c.want, c.roll.OnRoll(c.annotated), "%s on the roll, annotated %s", c.roll, c.annotated)
	}
}
