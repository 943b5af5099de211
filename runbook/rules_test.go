package runbook_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/runbook"
)

func TestDecideReconnect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, restored, reported string
		transition               runbook.Transition
		to                       runbook.State
		updated                  string
	}{
		{"equal", "5", "5", runbook.T2, runbook.StateNormal, runbook.UpdatedUpToDate},
		{"behind", "5", "4", runbook.T2, runbook.StateNormal, runbook.UpdatedOutOfDate},
		{"ahead", "5", "7", runbook.T3, runbook.StateConflictPaused, runbook.UpdatedOutOfDate},
		{"as numbers, not as text", "9", "10", runbook.T3, runbook.StateConflictPaused, runbook.UpdatedOutOfDate},
		{"both missing", "", "", runbook.T2, runbook.StateNormal, runbook.UpdatedUpToDate},
		{"missing is zero", "", "0", runbook.T2, runbook.StateNormal, runbook.UpdatedUpToDate},
		{"restored missing", "", "1", runbook.T3, runbook.StateConflictPaused, runbook.UpdatedOutOfDate},
		{"reported missing", "5", "", runbook.T2, runbook.StateNormal, runbook.UpdatedOutOfDate},
		{"restored unreadable", "five", "0", runbook.T3, runbook.StateConflictPaused, runbook.UpdatedOutOfDate},
		{"restored with a leading zero", "05", "5", runbook.T3, runbook.StateConflictPaused, runbook.UpdatedOutOfDate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, err := runbook.DecideReconnect(tc.restored, tc.reported)
			require.NoError(t, err)
			require.Equal(t, tc.transition, d.Transition)
			require.Equal(t, tc.to, d.To)
			require.Equal(t, tc.updated, d.Updated)
			if tc.transition == runbook.T3 {
				require.Contains(t, d.Info, d.Reported)
				require.Contains(t, d.Info, tc.restored)
			} else {
				require.Empty(t, d.Info)
			}
		})
	}
	_, err := runbook.DecideReconnect("5", "seven")
	require.Equal(t, runbook.CodeInvalidVersion, runbook.AsRefusal(err).Code)
}

func TestAnOlderVersionIsNeverPushedAtANewerDevice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		restored := rapid.Int64Range(0, 1<<62).Draw(t, "restored")
		reported := rapid.Int64Range(0, 1<<62).Draw(t, "reported")
		d, err := runbook.DecideReconnect(strconv.FormatInt(restored, 10), strconv.FormatInt(reported, 10))
		require.NoError(t, err)
		require.Equal(t, reported > restored, d.To == runbook.StateConflictPaused)
	})
}

func TestMayResume(t *testing.T) {
	t.Parallel()
	paused := runbook.Conflict{State: runbook.StateConflictPaused, Restored: "5", Reported: "7"}
	for _, tc := range []struct {
		name   string
		c      runbook.Conflict
		expect string
		next   string
		code   runbook.Code
	}{
		{name: "paused", c: paused, next: "8"},
		{name: "paused, as seen", c: paused, expect: "7", next: "8"},
		{name: "paused at nothing reported", c: runbook.Conflict{
			State: runbook.StateConflictPaused, Restored: "x",
		}, expect: "0", next: "1"},
		{name: "another version since", c: paused, expect: "6", code: runbook.CodeVersionChanged},
		{name: "expects nonsense", c: paused, expect: "latest", code: runbook.CodeInvalidVersion},
		{name: "still waiting", c: runbook.Conflict{
			State: runbook.StateAwaitingReconnect, Restored: "5",
		}, code: runbook.CodeNotPaused},
		{name: "resumed by another", c: runbook.Conflict{
			State: runbook.StateNormal, ResumedBy: "bob",
		}, code: runbook.CodeAlreadyResumed},
		{name: "back by itself", c: runbook.Conflict{State: runbook.StateNormal}, code: runbook.CodeNotWaiting},
		{name: "withdrawn", c: runbook.Conflict{State: runbook.StateWithdrawn}, code: runbook.CodeNotWaiting},
		{name: "withdrawn before its decision was carried out", c: runbook.Conflict{
			State: runbook.StateWithdrawn, ResumedBy: "bob",
		}, code: runbook.CodeNotWaiting},
		{name: "nothing left above", c: runbook.Conflict{
			State: runbook.StateConflictPaused, Reported: runbook.MaxVersion.String(),
		}, code: runbook.CodeVersionExhausted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			next, err := runbook.MayResume(tc.c, tc.expect)
			if tc.code != "" {
				require.Equal(t, tc.code, runbook.AsRefusal(err).Code)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.next, next.String())
		})
	}
	_, err := runbook.MayResume(runbook.Conflict{State: runbook.StateNormal, ResumedBy: "bob"}, "")
	require.ErrorContains(t, err, "bob")
}

func TestEligibleAndWithdrawable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		deleted   bool
		lifecycle string
		eligible  bool
	}{
		{false, "", true},
		{false, "Unknown", true},
		{false, "Enrolled", true},
		{false, "Decommissioning", false},
		{false, "Decommissioned", false},
		{true, "Enrolled", false},
	} {
		require.Equal(t, tc.eligible, runbook.Eligible(tc.deleted, tc.lifecycle), "%+v", tc)
		err := runbook.MayWithdraw(true, tc.deleted, tc.lifecycle, false)
		require.Equal(t, tc.eligible, err != nil, "what may not be put on the roll may leave it: %+v", tc)
		require.NoError(t, runbook.MayWithdraw(true, tc.deleted, tc.lifecycle, true))
	}
	require.NoError(t, runbook.MayWithdraw(false, false, "", false))
	require.Equal(t, runbook.CodeStillManaged, runbook.AsRefusal(runbook.MayWithdraw(true, false, "", false)).Code)
}

func TestStateOf(t *testing.T) {
	t.Parallel()
	waiting, paused := runbook.AnnotationAwaitingReconnect, runbook.AnnotationConflictPaused
	for _, tc := range []struct {
		annotations map[string]string
		want        runbook.State
	}{
		{nil, runbook.StateNormal},
		{map[string]string{waiting: "true"}, runbook.StateAwaitingReconnect},
		{map[string]string{paused: "true"}, runbook.StateConflictPaused},
		{map[string]string{waiting: "true", paused: "true"}, runbook.StateAwaitingReconnect},
		{map[string]string{waiting: "false", paused: "true"}, runbook.StateConflictPaused},
		{map[string]string{waiting: "True", paused: ""}, runbook.StateNormal},
	} {
		require.Equal(t, tc.want, runbook.StateOf(tc.annotations), "%v", tc.annotations)
	}
}

func TestEnrolledState(t *testing.T) {
	t.Parallel()
	annotated := map[string]string{runbook.AnnotationAwaitingReconnect: "true"}
	for _, tc := range []struct {
		name        string
		annotations map[string]string
		known       string
		want        runbook.State
	}{
		{"in the backup", annotated, "", runbook.StateAwaitingReconnect},
		{"in the backup, with a version", annotated, "7", runbook.StateAwaitingReconnect},
		{"after the restore, deployed", nil, "7", runbook.StateAwaitingReconnect},
		{"after the restore, deployed once", nil, "1", runbook.StateAwaitingReconnect},
		{"after the restore, version zero", nil, "0", runbook.StateNormal},
		{"after the restore, no version", nil, "", runbook.StateNormal},
		{"after the restore, no version to be read", nil, "seven", runbook.StateAwaitingReconnect},
		{"after the restore, zero in another form", nil, "00", runbook.StateAwaitingReconnect},
		{"annotated with another value", map[string]string{
			runbook.AnnotationAwaitingReconnect: "yes",
		}, "", runbook.StateNormal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, runbook.EnrolledState(tc.annotations, tc.known))
		})
	}
}

func TestTheTextsOfADevicesSummaryAreFlightControls(t *testing.T) {
	t.Parallel()
	require.Equal(t, "Device has not reconnected since restore to confirm its current state.",
		runbook.InfoAwaitingReconnect)
	require.Equal(t, "Device is up to date", runbook.InfoUpToDate)
	const start = "Device reconciliation is paused due to a state conflict between the service and the device's agent; " +
		"manual intervention is required. "
	require.Equal(t, start+"(device reported version 7 > device version known to service 5)",
		runbook.ConflictPausedInfo("5", "7"))
	require.Equal(t, start+"(device reported version 1 > device version known to service 0)",
		runbook.ConflictPausedInfo("", "1"))
	require.Equal(t, start+`(device reported version "4", device version known to service 5)`,
		runbook.ConflictPausedInfo("5", "4"))
	require.Contains(t, runbook.ConflictPausedInfo("x", "7"), `known to service, "x", cannot be read)`)
}
