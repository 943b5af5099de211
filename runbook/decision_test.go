package runbook_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestWhatComesAfterADecision(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) *time.Duration { return &d }
	const waits, paused, normal = runbook.StateAwaitingReconnect, runbook.StateConflictPaused, runbook.StateNormal
	decision := func(state runbook.State, reported, rendered string, asked *time.Duration) runbook.Decision {
		return runbook.Decision{State: state, About: "7", Reported: reported, Before: "5", Rendered: rendered, Asked: asked}
	}
	theirs := decision(normal, "7", "8", ago(time.Second))
	theirs.Theirs = true
	for name, tc := range map[string]struct {
		decision runbook.Decision
		want     runbook.DecisionStep
	}{
		"was not asked for yet":              {decision(paused, "7", "5", nil), runbook.StepAsk},
		"was asked for just now":             {decision(paused, "7", "5", ago(time.Second)), runbook.StepWait},
		"was asked for in vain":              {decision(paused, "7", "5", ago(time.Minute)), runbook.StepAsk},
		"the device reports another version": {decision(paused, "8", "5", nil), runbook.StepVoid},
		"also when it was asked for":         {decision(paused, "6", "5", ago(time.Minute)), runbook.StepVoid},
		"the device waits again":             {decision(waits, "7", "5", nil), runbook.StepVoid},
		"someone else came first":            {decision(normal, "7", "8", nil), runbook.StepTheirs},
		"someone else's call did it":         {theirs, runbook.StepTheirs},
		"is resumed and not rendered yet":    {decision(normal, "7", "5", ago(59*time.Second)), runbook.StepWait},
		"is never rendered":                  {decision(normal, "7", "5", ago(time.Minute)), runbook.StepRepair},
		"is rendered and not applied yet":    {decision(normal, "7", "8", ago(time.Hour)), runbook.StepWait},
		"is applied":                         {decision(normal, "8", "8", ago(time.Second)), runbook.StepDone},
		"is rendered twice":                  {decision(normal, "9", "9", ago(time.Second)), runbook.StepDone},
		"is rendered below what it runs":     {decision(normal, "7", "6", ago(time.Second)), runbook.StepBelow},
		"is repaired in vain": {
			func() runbook.Decision {
				d := decision(normal, "7", "5", ago(3*time.Minute))
				d.Repairs = 2
				return d
			}(), runbook.StepWait,
		},
		"is rendered as what it runs": {decision(normal, "7", "7", ago(time.Second)), runbook.StepBelow},
	} {
		require.Equal(t, tc.want, tc.decision.Next(), name)
	}
}

func TestWhatComesAfterARelease(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) *time.Duration { return &d }
	const waits, paused, normal = runbook.StateAwaitingReconnect, runbook.StateConflictPaused, runbook.StateNormal
	for name, tc := range map[string]struct {
		release runbook.Release
		want    runbook.DecisionStep
	}{
		"it waits":                        {runbook.Release{State: waits}, runbook.StepWait},
		"it is rendered":                  {runbook.Release{State: normal, Rendered: true}, runbook.StepDone},
		"it is not rendered":              {runbook.Release{State: normal}, runbook.StepRepair},
		"Flight Control has paused it":    {runbook.Release{State: paused}, runbook.StepDone},
		"we have paused it":               {runbook.Release{State: paused, Asked: ago(0)}, runbook.StepAsk},
		"also where it is rendered":       {runbook.Release{State: paused, Rendered: true, Asked: ago(0)}, runbook.StepAsk},
		"it was resumed":                  {runbook.Release{State: normal, Asked: ago(time.Second)}, runbook.StepWait},
		"it was resumed in vain":          {runbook.Release{State: normal, Asked: ago(time.Minute)}, runbook.StepDone},
		"it was resumed, and is rendered": {runbook.Release{State: normal, Rendered: true, Asked: ago(0)}, runbook.StepDone},
	} {
		require.Equal(t, tc.want, tc.release.Next(), name)
	}
}

func TestARepairInVainWaitsTwiceAsLong(t *testing.T) {
	t.Parallel()
	for repairs, within := range map[int]time.Duration{
		0: time.Minute, 1: 2 * time.Minute, 4: 16 * time.Minute, 5: 30 * time.Minute, 1 << 40: 30 * time.Minute,
	} {
		d := runbook.Decision{
			State: runbook.StateNormal, About: "7", Reported: "7", Before: "5", Rendered: "5", Repairs: repairs,
		}
		for asked, want := range map[time.Duration]runbook.DecisionStep{
			within - 1: runbook.StepWait, within: runbook.StepRepair,
		} {
			d.Asked = &asked
			require.Equal(t, want, d.Next(), "%d repairs, asked %s ago", repairs, asked)
		}
	}
}
