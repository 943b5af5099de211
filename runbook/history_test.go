package runbook_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestCheckStepAcceptsTheTable(t *testing.T) {
	t.Parallel()
	awaiting, paused := runbook.StateAwaitingReconnect, runbook.StateConflictPaused
	for name, c := range map[string]struct {
		from runbook.State
		step runbook.Step
	}{
		"T1 from nothing": {"", runbook.Step{Transition: runbook.T1, To: awaiting}},
		"T1 again":        {runbook.StateNormal, runbook.Step{Transition: runbook.T1, To: awaiting}},
		"T2": {
			awaiting, runbook.Step{Transition: runbook.T2, To: runbook.StateNormal, Restored: "5", Reported: "5"},
		},
		"T2 behind": {
			awaiting, runbook.Step{Transition: runbook.T2, To: runbook.StateNormal, Restored: "10", Reported: "9"},
		},
		"T3":               {awaiting, runbook.Step{Transition: runbook.T3, To: paused, Restored: "9", Reported: "10"}},
		"T3 by unreadable": {awaiting, runbook.Step{Transition: runbook.T3, To: paused, Restored: "x", Reported: "1"}},
		"T3 by Flight Control": {
			awaiting, runbook.Step{Transition: runbook.T3, To: paused, Restored: "5", Followed: true, Beside: true},
		},
		"reported": {paused, runbook.Step{Transition: runbook.Reported, To: paused}},
		"T4": {
			paused, runbook.Step{
				Transition: runbook.T4, To: runbook.StateNormal, Restored: "5", Reported: "7", Next: "8", Human: true,
			},
		},
		"T4 by Flight Control": {
			paused, runbook.Step{Transition: runbook.T4, To: runbook.StateNormal, Followed: true, Beside: true},
		},
		"T5 while it waits":     {awaiting, runbook.Step{Transition: runbook.T5, To: runbook.StateWithdrawn}},
		"T5 while it is paused": {paused, runbook.Step{Transition: runbook.T5, To: runbook.StateWithdrawn}},
		"decided beside":        {paused, runbook.Step{Transition: runbook.Decided, To: paused, Beside: true, Human: true}},
		"repaired as it waits":  {awaiting, runbook.Step{Transition: runbook.Repaired, To: awaiting, Beside: true}},
		"repaired beside":       {paused, runbook.Step{Transition: runbook.Repaired, To: paused, Beside: true}},
		"T4 rendered by theirs": {
			paused, runbook.Step{
				Transition: runbook.T4, To: runbook.StateNormal, Restored: "5", Reported: "7", Next: "12", Human: true,
				Beside: true,
			},
		},
		"a refusal moves no one": {runbook.StateNormal, runbook.Step{Transition: runbook.Refused}},
	} {
		require.Empty(t, runbook.CheckStep(c.from, c.step), name)
	}
}

func TestCheckStepNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	awaiting, paused, normal := runbook.StateAwaitingReconnect, runbook.StateConflictPaused, runbook.StateNormal
	for want, c := range map[string]struct {
		from runbook.State
		step runbook.Step
	}{
		"T1 leads to Normal":              {"", runbook.Step{Transition: runbook.T1, To: normal}},
		"T2 leads from no roll to Normal": {"", runbook.Step{Transition: runbook.T2, To: normal}},
		"T2 leads from Normal":            {normal, runbook.Step{Transition: runbook.T2, To: normal}},
		"T2 although": {
			awaiting, runbook.Step{Transition: runbook.T2, To: normal, Restored: "2", Reported: "4"},
		},
		"which cannot be read": {
			awaiting, runbook.Step{Transition: runbook.T2, To: normal, Restored: "2", Reported: "+1"},
		},
		"T2 by another hand": {
			awaiting, runbook.Step{Transition: runbook.T2, To: normal, Restored: "5", Reported: "5", Followed: true},
		},
		"T4 by another hand": {paused, runbook.Step{Transition: runbook.T4, To: normal, Followed: true}},
		"T3 although": {
			awaiting, runbook.Step{Transition: runbook.T3, To: paused, Restored: "4", Reported: "4"},
		},
		"report leads from Normal":        {normal, runbook.Step{Transition: runbook.Reported, To: paused}},
		"T4 leads from AwaitingReconnect": {awaiting, runbook.Step{Transition: runbook.T4, To: normal, Human: true}},
		"T4 leads from Normal":            {normal, runbook.Step{Transition: runbook.T4, To: normal, Human: true}},
		"T4 without a person": {
			paused, runbook.Step{Transition: runbook.T4, To: normal, Restored: "1", Reported: "2", Next: "3"},
		},
		"T4 renders version 3": {
			paused, runbook.Step{Transition: runbook.T4, To: normal, Restored: "1", Reported: "7", Next: "3", Human: true},
		},
		"T5 leads from Normal": {normal, runbook.Step{Transition: runbook.T5, To: runbook.StateWithdrawn}},
		"Decided without a person": {
			paused, runbook.Step{Transition: runbook.Decided, To: paused, Beside: true},
		},
		"Decided leads from Normal": {
			normal, runbook.Step{Transition: runbook.Decided, To: paused, Beside: true, Human: true},
		},
		"Repaired leads from AwaitingReconnect": {
			awaiting, runbook.Step{Transition: runbook.Repaired, To: paused, Beside: true},
		},
		"does not run beside":                   {paused, runbook.Step{Transition: runbook.Dropped, To: paused}},
		"transition T9 is not in the table":     {awaiting, runbook.Step{Transition: "T9", To: normal}},
		"T5 leads from AwaitingReconnect to No": {awaiting, runbook.Step{Transition: runbook.T5, To: normal}},
	} {
		require.Contains(t, runbook.CheckStep(c.from, c.step), want)
	}
}
