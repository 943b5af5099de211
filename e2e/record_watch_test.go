//go:build record

package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// The histories device-look-released, -paused, -resumed and -and-messages-in-one-task are of a release whose restores
// followed annotations also where they stood alone. They replay, and cannot be recorded again.
func TestRecordWatchedDevices(t *testing.T) {
	const d = "web-7"
	looks := func(s *site, statement string) {
		s.flightControl(statement, d)
		s.signal(d, runbook.SignalLook, runbook.LookSignal{})
	}
	for name, play := range map[string]func(*site){
		"device-look-nothing":    func(s *site) { s.signal(d, runbook.SignalLook, nil); s.timeline(d, 1) },
		"device-look-unreadable": func(s *site) { s.signal(d, runbook.SignalLook, 7); s.timeline(d, 1) },
		"device-look-withdrawn":  func(s *site) { looks(s, fcDeletes); s.outcome(d) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := restoredBy(t, runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"}, d)
			play(s)
			s.record(deviceID(d), name)
		})
	}
}

func TestRecordWatchedRestores(t *testing.T) {
	names := []string{"web-1", "web-2", "web-3"}
	id := runbook.RestoreWorkflowID("r1")
	for _, batchSize := range []int{0, 2} {
		name := "restore-watching"
		if batchSize > 0 {
			name += "-in-batches"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, run := restoredBy(t, runbook.RestoreInput{RestoreID: "r1", BatchSize: batchSize, WatchInterval: "100ms"},
				names...)
			s.record(id, name)
			for _, device := range names {
				s.notes(device, "5")
			}
			_, err := s.result(run)
			require.NoError(t, err)
			s.record(id, name+"-completed")
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		s, run := restoredBy(t, runbook.RestoreInput{RestoreID: "r1", WatchInterval: "100ms"}, names...)
		require.NoError(t, s.client.CancelWorkflow(t.Context(), id, ""))
		_, err := s.result(run)
		require.Error(t, err)
		s.record(id, "restore-watching-cancelled")
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		s, run := restoredBy(t, runbook.RestoreInput{RestoreID: "r1", WatchInterval: "0"}, names...)
		for _, device := range names {
			s.reports(device, "5")
		}
		_, err := s.result(run)
		require.NoError(t, err)
		s.record(id, "restore-without-a-watch")
	})
}
