package workflows

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// longName is a name as Flight Control's devices have: the hash of a key.
const longName = "jn1ukcfoe44ru0sh89ekpg9hvqggkd88hg83n95vmbh1p8vgc740"

func paused(name string) runbook.DeviceStatus {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	return runbook.DeviceStatus{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: name, Fleet: "web", State: runbook.StateConflictPaused,
		Restored: "6", Reported: "8", Since: at,
		Timeline: []runbook.TimelineEntry{{
			At: at, Message: runbook.SignalReconnect, Version: "8", Accepted: true, Transition: runbook.T3,
			From: runbook.StateAwaitingReconnect, To: runbook.StateConflictPaused,
		}},
	}
}

// The pane shows about twenty lines: what to do and what has happened stand in them, however long the name is.
func TestDetailsFitThePane(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"web-7", longName} {
		details := deviceDetails(paused(name), runbook.ResumeDecision{}, "")
		for line := range strings.Lines(details) {
			require.LessOrEqual(t, len([]rune(line)), 90, line)
		}
		head := strings.Join(strings.SplitAfterN(details, "\n", 13)[:12], "")
		require.Contains(t, head, "starter describe device "+name)
		require.Contains(t, head, "--expect-version 8")
		require.Contains(t, head, "- 11-29 12:00:00 UTC: **reconnect 8**, now ConflictPaused (T3)")
		command, story := strings.Index(details, "starter resume"), strings.Index(details, "- 11-29")
		require.Less(t, command, story)
		require.Less(t, story, strings.Index(details, "|---|"), "what stands below a table is cut off")
	}
	require.Contains(t, deviceDetails(paused(longName), runbook.ResumeDecision{}, ""),
		"starter resume device "+longName+" \\\n    --expect-version 8 --reason \"…\"\n")
	elsewhere := paused("web-7")
	elsewhere.OrgID = "5f0c1a2b-0000-4000-8000-000000000001"
	require.Contains(t, deviceDetails(elsewhere, runbook.ResumeDecision{}, ""),
		"starter describe device web-7 --org 5f0c1a2b-0000-4000-8000-000000000001\n")
}

// Flight Control has no call for a human's word.
func TestDetailsAdviseNoReconnectBesideFlightControl(t *testing.T) {
	t.Parallel()
	s := paused("web-7")
	s.State, s.Reported = runbook.StateAwaitingReconnect, ""
	alone := deviceDetails(s, runbook.ResumeDecision{}, runbook.ModeStandalone)
	require.Contains(t, alone, "starter reconnect device web-7")
	beside := deviceDetails(s, runbook.ResumeDecision{}, runbook.ModeFlightctl)
	require.NotContains(t, beside, "starter reconnect")
	require.Contains(t, beside, "starter withdraw device web-7")
}

func TestDetailsLinkToListsByState(t *testing.T) {
	t.Parallel()
	tally := runbook.RestoreStatus{Total: 3, Counts: runbook.NewCounts()}
	tally.Counts[runbook.StateConflictPaused] = 3
	progress := runbook.RestoreProgress{RestoreID: "r1", State: runbook.RestoreRunning, Phase: runbook.PhaseWaiting}
	details := restoreDetails(progress, tally, runbook.ModeStandalone, "default")
	require.Contains(t, details, "| [ConflictPaused](/namespaces/default/workflows?query="+
		"RestoreId%3D%22r1%22%20AND%20DeviceStatus%3D%22ConflictPaused%22) | 3 |")
	require.Less(t, strings.Index(details, "starter get devices"), strings.Index(details, "|---|"))
	in := runbook.BatchInput{RestoreID: "r1", Number: 2, Slice: runbook.Slice{To: 500}}
	batch := batchDetails(in, nil, "default", "restore/r1/batch/2")
	require.Contains(t, batch, "- [AwaitingReconnect](/namespaces/default/workflows?query="+
		"ParentWorkflowId%3D%22restore%2Fr1%2Fbatch%2F2%22%20AND%20DeviceStatus%3D%22AwaitingReconnect%22)\n")
}
