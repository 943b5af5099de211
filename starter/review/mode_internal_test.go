package review

import (
	"fmt"
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
		"beside Flight Control, never rendered again": {func(r *Review, _ *inventory.DevicePosition, _ *inventory.RollPlace) {
			r.Mode, r.Rendered = runbook.ModeFlightctl, "v14"
		}, "flightctl delete device/web-7"},
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
		explained := r.Explain()
		require.Contains(t, explained.Why, c.why, name)
		for _, unblock := range explained.Unblocks {
			require.Equal(t, c.why == "" && strings.Contains(unblock.Who, "after a look"),
				strings.Contains(strings.Join(unblock.Commands, "\n"), "starter resume"), name)
		}
	}
}

// A device that was withdrawn by force beside Flight Control, and is paused there when it is back, waits for a human.
func TestADeviceThatIsPausedAfterItHasLeftIsShown(t *testing.T) {
	t.Parallel()
	for mode, paused := range map[runbook.Mode]bool{runbook.ModeFlightctl: true, runbook.ModeStandalone: false} {
		r := &Review{Name: "web-7", OrgID: runbook.DefaultOrgID, State: runbook.StateConflictPaused}
		r.takePlace(inventory.RollPlace{RestoreID: "r1", State: runbook.StateWithdrawn, Mode: mode})
		require.Equal(t, runbook.StateWithdrawn, r.State)
		require.Equal(t, paused, r.LeftPaused)
		explained := r.Explain()
		require.Equal(t, paused, explained.WaitsFor == "a human")
		for _, said := range []string{strings.Join(r.Suggest(), "\n"), fmt.Sprint(explained)} {
			require.Equal(t, paused, strings.Contains(said, "flightctl resume device/web-7"))
		}
	}
}
