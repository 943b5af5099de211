package review

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestExplainSaysWhoCanUnblock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	since := now.Add(-10 * time.Minute)
	const alone, beside = runbook.ModeStandalone, runbook.ModeFlightctl
	const awaits, paused = runbook.StateAwaitingReconnect, runbook.StateConflictPaused
	decided := []Entry{entry(runbook.T3, ""), entry(runbook.Decided, "alice")}
	for name, c := range map[string]struct {
		review Review
		want   []string
		not    string
	}{
		"awaiting": {
			Review{State: awaits, RestoreID: "r1", Restored: "5", Mode: alone},
			[]string{
				"device/web-7 waits for its agent, since ", "(10m ago)", "next poll of the gateway; nothing is to be typed",
				"  starter reconnect device web-7 --rendered-version VERSION\n", "  starter withdraw device web-7 --force",
			},
			"resume",
		},
		"beside Flight Control": {
			Review{State: awaits, RestoreID: "r1", Restored: "5", Mode: beside},
			[]string{"next poll of Flight Control", "starter withdraw"},
			"starter reconnect",
		},
		"on no roll": {
			Review{State: awaits, Restored: "5"},
			[]string{"waits for a restore", "no restore runs that has it on its roll", "  starter restore --wait\n"},
			"reconnect device",
		},
		"paused": {
			Review{State: paused, RestoreID: "r1", Restored: "5", Reported: "7", Mode: alone},
			[]string{
				"waits for a human's decision", "  starter resume device web-7 --expect-version 7 --reason 'checked on site'\n",
			},
			"reconnect",
		},
		"decided": {
			Review{State: paused, RestoreID: "r1", Reported: "7", Mode: beside, Timeline: decided},
			[]string{"waits for Flight Control", "alice has resumed it"},
			"starter resume",
		},
		"decided, and dropped": {
			Review{
				State: paused, RestoreID: "r1", Reported: "8", Mode: beside,
				Timeline: append(append([]Entry{}, decided...), entry(runbook.Dropped, "")),
			},
			[]string{"waits for a human's decision"},
			"alice",
		},
		"decided, and not rendered yet": {
			Review{
				State: runbook.StateNormal, RestoreID: "r1", RestoreState: runbook.RestoreRunning, Mode: beside,
				Timeline: decided, rollState: paused,
			},
			[]string{"waits for Flight Control", "alice has resumed it", "- Flight Control, which renders it"},
			"normal",
		},
		"decided, and cannot be rendered": {
			Review{
				State: paused, RestoreID: "r1", Reported: "7", Mode: beside, Timeline: decided, Owner: "Fleet/web",
				SpecInvalid: "no repository acme",
			},
			[]string{
				"waits for Flight Control", "alice has resumed it", "Flight Control cannot render its spec: no repository acme",
				"a human, who corrects the spec", "  starter get fleet web -o yaml\n",
			},
			"which renders it",
		},
		"released, and cannot be rendered": {
			Review{
				State: runbook.StateNormal, RestoreID: "r1", RestoreState: runbook.RestoreRunning, Mode: beside,
				rollState: awaits, SpecInvalid: "no repository acme",
			},
			[]string{
				"waits for Flight Control", "Flight Control has released it", "cannot render its spec: no repository acme",
				"  starter get device web-7 -o yaml\n",
			},
			"normal",
		},
		"normal, and cannot be rendered": {
			Review{State: runbook.StateNormal, RestoreID: "r1", Mode: beside, SpecInvalid: "no repository acme"},
			[]string{"waits for nothing", "back to normal, but Flight Control cannot render its spec: no repository acme"},
			"starter",
		},
		"gone":      {Review{State: awaits, RestoreID: "r1", Gone: true}, []string{"starter withdraw"}, "reconnect"},
		"normal":    {Review{State: runbook.StateNormal}, []string{"device/web-7 waits for nothing\n", "normal"}, "starter"},
		"withdrawn": {Review{State: runbook.StateWithdrawn}, []string{"waits for nothing\n", "has left"}, "starter"},
	} {
		c.review.Name, c.review.OrgID, c.review.Since = "web-7", runbook.DefaultOrgID, &since
		var out bytes.Buffer
		require.NoError(t, c.review.Explain().Text(&out, now))
		for _, want := range c.want {
			require.Contains(t, out.String(), want, name)
		}
		require.NotContains(t, out.String(), c.not, name)
	}
	var out bytes.Buffer
	require.NoError(t, ExplainPending("er-1", runbook.DefaultOrgID, &since).Text(&out, now))
	require.Contains(t, out.String(), "waits for a human's approval")
	require.Contains(t, out.String(), "starter approve enrollmentrequest er-1")
}

func entry(transition runbook.Transition, by string) Entry {
	return Entry{TimelineEntry: runbook.TimelineEntry{Transition: transition, By: by}}
}

func TestDescribeSaysWhyASpecCannotBeRendered(t *testing.T) {
	t.Parallel()
	r := &Review{Name: "web-7", OrgID: runbook.DefaultOrgID, SpecInvalid: "no repository acme"}
	var out bytes.Buffer
	require.NoError(t, r.Text(&out, time.Now()))
	require.Contains(t, out.String(), "\nSpec error: no repository acme\n")
}
