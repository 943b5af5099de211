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
		"is rendered as what it runs":        {decision(normal, "7", "7", ago(time.Second)), runbook.StepBelow},
	} {
		require.Equal(t, tc.want, tc.decision.Next(), name)
	}
}
