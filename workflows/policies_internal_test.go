package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"
)

// A plan that waits costs eleven events each time that it reads.
func TestAPlanWaitsForMonthsWithinOneHistory(t *testing.T) {
	t.Parallel()
	for wavesAfter, days := range map[int]time.Duration{0: 120, 9: 120, 500: 120} {
		wait, history, waited := newPlanWait(60, wavesAfter), 60, time.Duration(0)
		for waited < days*24*time.Hour {
			waited += wait.next(lastPlanPoll, history)
			history += 11
		}
		require.Less(t, history, 51_200, "%d waves after it", wavesAfter)
	}
}

// No wave of a plan of many waves waits longer because the waves before it have filled the history.
func TestAPlanOfManyWavesKeepsItsPace(t *testing.T) {
	t.Parallel()
	const waves, looks = 500, 4
	history := 60
	for wave := range waves {
		history += 24
		wait := newPlanWait(history, waves-1-wave)
		for range looks {
			require.LessOrEqual(t, wait.next(lastPlanPoll, history), lastPlanPoll, "wave %d", wave)
			history += 11
		}
	}
	require.Less(t, history, 51_200)
}

// Only the server can have one run continue another, and only continue-as-new lets the workflow choose the input.
func TestWhichRunsGoOnWithAPlan(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		info workflow.Info
		want bool
	}{
		"a first run":     {workflow.Info{Attempt: 1}, false},
		"continue-as-new": {workflow.Info{ContinuedExecutionRunID: "r", Attempt: 1}, true},
		"a cron schedule": {workflow.Info{ContinuedExecutionRunID: "r", Attempt: 1, CronSchedule: "* * * * *"}, false},
		"a retry":         {workflow.Info{ContinuedExecutionRunID: "r", Attempt: 2}, false},
	} {
		require.Equal(t, tc.want, goesOn(&tc.info), name)
	}
}
