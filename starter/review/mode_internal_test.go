package review

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// A version from a human is refused beside Flight Control, and is not advised there.
func TestNoReconnectIsAdvisedBesideFlightControl(t *testing.T) {
	t.Parallel()
	for mode, advised := range map[runbook.Mode]bool{runbook.ModeStandalone: true, runbook.ModeFlightctl: false} {
		r := &Review{
			Name: "web-7", OrgID: runbook.DefaultOrgID, State: runbook.StateAwaitingReconnect,
			Restored: "5", RestoreID: "r1", Mode: mode,
		}
		require.Equal(t, advised, strings.Contains(strings.Join(r.Suggest(), "\n"), "reconnect"), mode)
	}
}

// A resume that would be refused is not advised, and the reason is said.
func TestNoResumeIsAdvisedThatWouldBeRefused(t *testing.T) {
	t.Parallel()
	paused := func() *Review {
		return &Review{
			Name: "web-7", OrgID: runbook.DefaultOrgID, State: runbook.StateConflictPaused, Restored: "5",
			Reported: "7", RestoreID: "r1", RestoreState: runbook.RestoreRunning, Mode: runbook.ModeStandalone,
		}
	}
	position := inventory.DevicePosition{
		OrgID: runbook.DefaultOrgID, Name: "web-7", State: runbook.StateConflictPaused,
		Restored: "5", Reported: "7", RestoreID: "r1",
	}
	advises := func(r *Review) bool { return strings.Contains(strings.Join(r.Suggest(), "\n"), "starter resume") }
	for name, c := range map[string]struct {
		change func(*Review, *inventory.DevicePosition, *inventory.RollPlace)
		why    string
	}{
		"nothing is wrong": {func(*Review, *inventory.DevicePosition, *inventory.RollPlace) {}, ""},
		"decided already": {func(_ *Review, _ *inventory.DevicePosition, place *inventory.RollPlace) {
			place.ResumedBy = "alice"
		}, "alice has decided"},
		"beside Flight Control, unknown": {func(r *Review, p *inventory.DevicePosition, _ *inventory.RollPlace) {
			r.Mode, r.Reported, p.Reported = runbook.ModeFlightctl, "", ""
		}, "has not stored which version"},
		"on its way out": {func(r *Review, _ *inventory.DevicePosition,
			_ *inventory.RollPlace,
		) {
			r.Lifecycle = "Decommissioned"
		}, "withdrawn"},
		"no version left": {func(r *Review, p *inventory.DevicePosition, _ *inventory.RollPlace) {
			r.Reported, p.Reported = "9223372036854775807", "9223372036854775807"
		}, "version"},
		"no restore has it": {
			func(_ *Review, p *inventory.DevicePosition, _ *inventory.RollPlace) { p.RestoreID = "" },
			"no restore runs",
		},
	} {
		r, p, place := paused(), position, inventory.RollPlace{}
		c.change(r, &p, &place)
		r.weighResume(p, &place)
		require.Contains(t, r.Unresumable, c.why, name)
		require.Equal(t, c.why == "", advises(r), name)
	}
}
