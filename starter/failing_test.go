package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the watch cannot do at Flight Control is said where the operator looks.
func TestStatusSaysWhatCannotBeDoneAtFlightControl(t *testing.T) {
	t.Parallel()
	b, control, _ := enrollingBeside(t)
	const fails = "warning: not everything can be done for restore first at present, and it is tried again: " +
		"keys of waiting devices: "
	control.StopStore()
	require.Eventually(t, func() bool { return strings.Contains(b.ok("status"), fails) }, 2*time.Minute,
		100*time.Millisecond)
	require.Contains(t, b.ok("describe", "restore", "first"), fails)
	require.NoError(t, control.StartStore())
	require.Eventually(t, func() bool { return !strings.Contains(b.ok("status"), "warning") }, 2*time.Minute,
		100*time.Millisecond)
}
