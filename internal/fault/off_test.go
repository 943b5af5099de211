//go:build !faults

package fault_test

import (
	"testing"

	"rollcall/internal/fault"
)

// A release build passes every point, whatever its environment says.
func TestReleaseBuildsPassEachPoint(t *testing.T) {
	t.Setenv(fault.Env, fault.BeforeCommit+"#1:kill")
	for range 3 {
		fault.At(fault.BeforeCommit)
	}
}
