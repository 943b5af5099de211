package workflows_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
	"rollcall/workflows"
)

// planned is a plan of two devices in two waves, with the activities of its workflow.
type planned struct {
	env *testsuite.TestWorkflowEnvironment
	// asked are the waves that were asked, in their order, and since is how long ago their devices have answered.
	asked []int
	since time.Duration
	// looks is how often the plan has read what the devices report.
	looks int
	// acts are what was written to the audit.
	acts []activities.ActInput
	// tally is what the devices report after so many waves were asked, or asked again.
	tally func(asked int) activities.PlanTallyResult
	// moves are the states that were written to the database, and atEnd is the tally that the last one returns.
	moves []runbook.PlanState
	atEnd *runbook.PlanTally
}

func newPlanned(t *testing.T) *planned {
	t.Helper()
	p := &planned{env: (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()}
	p.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: runbook.ResumeWorkflowID("p"), TaskQueue: "q"})
	p.env.SetTestTimeout(3 * time.Minute)
	workflows.Register(p.env)
	for name, fn := range map[string]any{
		"BeginPlan": func(in runbook.PlanInput) (activities.BeginPlanResult, error) {
			return activities.BeginPlanResult{OrgID: org, RestoreID: "r1", By: in.By, Waves: 2, Devices: 2}, nil
		},
		"AskWave": func(in activities.AskWaveInput) (activities.AskWaveResult, error) {
			p.asked = append(p.asked, in.Wave)
			return activities.AskWaveResult{Since: p.since}, nil
		},
		"PlanTally": func(activities.PlanTallyInput) (activities.PlanTallyResult, error) {
			p.looks++
			return p.tally(len(p.asked)), nil
		},
		"MovePlan": func(in activities.MovePlanInput) (activities.MovePlanResult, error) {
			p.moves = append(p.moves, in.State)
			return activities.MovePlanResult{Tally: p.atEnd}, nil
		},
		"RecordAct": func(in activities.ActInput) (activities.ActResult, error) {
			p.acts = append(p.acts, in)
			return activities.ActResult{}, nil
		},
	} {
		p.env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	return p
}

// counts is what a plan of two devices reports while its restore runs.
func counts(tally runbook.PlanTally) activities.PlanTallyResult {
	tally.Total = 2
	return activities.PlanTallyResult{PlanTally: tally, Current: true}
}

// completed is the same once every device of the restore has ended.
func completed(tally runbook.PlanTally) activities.PlanTallyResult {
	result := counts(tally)
	result.Current, result.RestoreCompleted = false, true
	return result
}

// tells sends the plan a command after a while.
func (p *planned) tells(t *testing.T, after time.Duration, update string) {
	p.env.RegisterDelayedCallback(func() {
		p.env.UpdateWorkflow(update, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept:   func() {},
			OnReject:   func(err error) { require.NoError(t, err) },
			OnComplete: func(_ any, err error) { require.NoError(t, err) },
		}, runbook.PlanCommand{By: "bob"})
	}, after)
}

// ends runs the plan to its end.
func (p *planned) ends(t *testing.T) runbook.PlanProgress {
	t.Helper()
	return p.soaks(t, "")
}

// soaks runs a plan whose waves last so long to its end.
func (p *planned) soaks(t *testing.T, soak string) (result runbook.PlanProgress) {
	t.Helper()
	in := runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,100%", Soak: soak}
	p.env.ExecuteWorkflow(runbook.ResumeWorkflowName, in)
	require.NoError(t, p.env.GetWorkflowError())
	require.NoError(t, p.env.GetWorkflowResult(&result))
	require.Equal(t, result.State, p.moves[len(p.moves)-1])
	return result
}

// A plan of many waves hands the rest of them to a fresh history. That run begins nothing and asks no wave again, and
// keeps what a human has accepted.
func TestAPlanWithALongHistoryGoesOnInAFreshOne(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = func(int) activities.PlanTallyResult { return counts(runbook.PlanTally{NotAsked: 1, Failed: 1}) }
	p.env.SetContinueAsNewSuggested(false)
	p.tells(t, time.Minute, runbook.UpdateContinue)
	p.env.RegisterDelayedCallback(func() { p.env.SetContinueAsNewSuggested(true) }, 30*time.Second)
	p.env.ExecuteWorkflow(runbook.ResumeWorkflowName, runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,100%"})
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, p.env.GetWorkflowError(), &again)
	var in runbook.PlanInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &in))
	require.Equal(t, []int{0}, p.asked)
	require.Len(t, in.Carried.Acted, 1)

	next := newPlanned(t)
	// The command to the first run is given again. The plan is not held, and nothing is done.
	var repeated runbook.PlanProgress
	next.env.RegisterDelayedCallback(func() {
		next.env.UpdateWorkflow(runbook.UpdateContinue, strings.TrimPrefix(in.Carried.Acted[0], "update/"),
			&testsuite.TestUpdateCallback{
				OnAccept:   func() {},
				OnReject:   func(err error) { require.NoError(t, err) },
				OnComplete: func(answer any, err error) { require.NoError(t, err); repeated = answer.(runbook.PlanProgress) },
			}, runbook.PlanCommand{By: "bob"})
	}, 0)
	next.env.SetContinuedExecutionRunID("the first run")
	next.tally = func(int) activities.PlanTallyResult { return counts(runbook.PlanTally{Applied: 1, Failed: 1}) }
	next.env.OnActivity("BeginPlan", mock.Anything).Never()
	next.env.ExecuteWorkflow(runbook.ResumeWorkflowName, in)
	require.NoError(t, next.env.GetWorkflowError())
	var result runbook.PlanProgress
	require.NoError(t, next.env.GetWorkflowResult(&result))
	require.Equal(t, []int{1}, next.asked)
	require.Equal(t, runbook.PlanCompleted, result.State)
	require.Equal(t, "ann", result.By)
	require.Equal(t, 2, result.Wave)
	require.Equal(t, "p", repeated.PlanID)
	require.Empty(t, next.acts)

	forged := newPlanned(t)
	forged.env.ExecuteWorkflow(runbook.ResumeWorkflowName, in)
	require.ErrorContains(t, forged.env.GetWorkflowError(), "goes on with no run of the plan")
	require.Empty(t, forged.asked)
}

func TestAPlanWhoseLastWaveCompletesTheRestoreIsCompleted(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = func(asked int) activities.PlanTallyResult {
		if asked < 2 {
			return counts(runbook.PlanTally{NotAsked: 1, Applied: 1})
		}
		return completed(runbook.PlanTally{Applied: 1, Pending: 1})
	}
	result := p.ends(t)
	require.Equal(t, runbook.PlanCompleted, result.State)
	require.Equal(t, "Every device was asked.", result.Why)
}

// The last devices of the plan were resumed by others: they are asked all the same, and say so.
func TestAPlanGoesOnToItsEndAfterOthersHaveCompletedTheRestore(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = func(asked int) activities.PlanTallyResult {
		if asked < 2 {
			return completed(runbook.PlanTally{NotAsked: 1, Applied: 1})
		}
		return completed(runbook.PlanTally{Applied: 1, Refused: 1})
	}
	require.Equal(t, runbook.PlanCompleted, p.ends(t).State)
	require.Equal(t, []int{0, 1}, p.asked)
}

func TestAPlanWhoseRestoreWasSupersededIsSuperseded(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = func(int) activities.PlanTallyResult {
		return activities.PlanTallyResult{PlanTally: runbook.PlanTally{Total: 2, NotAsked: 1, Pending: 1}}
	}
	require.Equal(t, runbook.PlanSuperseded, p.ends(t).State)
	require.Equal(t, []int{0}, p.asked)
}

// failing is the tally of a plan whose first device has failed and stays so.
func failing(asked int) activities.PlanTallyResult {
	if asked > 2 {
		return counts(runbook.PlanTally{Failed: 1, Pending: 1})
	}
	return counts(runbook.PlanTally{NotAsked: 1, Failed: 1})
}

func TestAPlanThatIsRetriedWaitsForWhoFailed(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = failing
	p.tells(t, time.Second, runbook.UpdateRetryFailed)
	p.tells(t, time.Hour, runbook.UpdateAbort) // by then the minute of grace is over, and the plan is held again
	result := p.ends(t)
	require.Equal(t, runbook.PlanAborted, result.State)
	require.Equal(t, []int{0, 0}, p.asked, "the first wave is asked again, and the second waits for it")
	again := []runbook.PlanState{runbook.PlanHeld, runbook.PlanRunning, runbook.PlanHeld, runbook.PlanAborted}
	require.Equal(t, again, p.moves)
}

// A plan that a worker of an earlier release has told to retry goes on as it did there.
func TestAPlanOfAnEarlierReleaseDoesNotWaitForWhoFailed(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	const newest = workflow.Version(1)
	p.env.OnGetVersion("wait-for-failed", workflow.DefaultVersion, newest).Return(workflow.DefaultVersion)
	for _, change := range []string{"plan-acts", "plan-acts-accepted"} {
		p.env.OnGetVersion(change, workflow.DefaultVersion, newest).Return(newest)
	}
	p.tally = failing
	p.tells(t, time.Second, runbook.UpdateRetryFailed)
	require.Equal(t, runbook.PlanCompleted, p.ends(t).State)
	require.Equal(t, []int{0, 0, 1}, p.asked)
}

// A device was resumed while the plan was being aborted: the plan counts it as resumed.
func TestAnAbortedPlanCountsWhoWasResumedMeanwhile(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = failing
	p.atEnd = &runbook.PlanTally{Total: 2, Failed: 1, Pending: 1}
	p.tells(t, time.Second, runbook.UpdateAbort)
	require.Equal(t, *p.atEnd, p.ends(t).PlanTally)
}

func TestALargeCommandToAPlanIsTurnedAway(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = failing
	var rejected []error
	p.env.RegisterDelayedCallback(func() {
		for _, attack := range []any{
			asJSON(`{"by":"mallory"` + strings.Repeat(" ", 1<<20) + `}`),
			map[string]string{"by": "mallory", strings.Repeat("x", 1<<20): ""},
			map[string]string{"by": "mallory", "reasn": "mistyped"},
			runbook.PlanCommand{},
		} {
			p.env.UpdateWorkflow(runbook.UpdateAbort, uuid.NewString(), &testsuite.TestUpdateCallback{
				OnReject: func(err error) { rejected = append(rejected, err) }, OnAccept: func() {},
				OnComplete: func(any, error) {},
			}, attack)
		}
	}, time.Second)
	p.tells(t, time.Minute, runbook.UpdateContinue)
	require.Equal(t, runbook.PlanCompleted, p.ends(t).State)
	require.Len(t, rejected, 4)
	for _, err := range rejected {
		require.Less(t, len(err.Error()), 2000)
	}
}

// Temporal takes every signal. One that a plan does not hear is seen to have done nothing.
func TestASignalToAPlanIsRefusedWhereItShows(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = failing
	var seen runbook.PlanProgress
	p.env.RegisterDelayedCallback(func() {
		p.env.SignalWorkflow("pause", nil)
		p.env.SignalWorkflow(runbook.UpdateAbort, runbook.PlanCommand{By: "alice"})
		p.env.SignalWorkflow(strings.Repeat("x", 900), strings.Repeat("x", 1<<20))
	}, time.Second)
	p.env.RegisterDelayedCallback(func() {
		value, err := p.env.QueryWorkflow(runbook.QueryPlan)
		require.NoError(t, err)
		require.NoError(t, value.Get(&seen))
	}, 2*time.Second)
	p.tells(t, time.Minute, runbook.UpdateContinue)
	result := p.ends(t)
	require.Equal(t, runbook.PlanCompleted, result.State)
	require.Equal(t, runbook.PlanHeld, seen.State, "it goes on as before")
	require.NotNil(t, seen.RefusedSignal)
	require.Equal(t, 3, seen.RefusedSignal.Times)
	require.Less(t, len(seen.RefusedSignal.Name+seen.RefusedSignal.Why), 1500)
	require.Contains(t, seen.RefusedSignal.Why, "starter resume --abort p")
	require.Equal(t, seen.RefusedSignal, result.RefusedSignal)
}

// firstApplied is the tally of a plan whose first device is well, before and after the second was asked.
func firstApplied(asked int) activities.PlanTallyResult {
	if asked < 2 {
		return counts(runbook.PlanTally{NotAsked: 1, Applied: 1})
	}
	return counts(runbook.PlanTally{Applied: 1, Pending: 1})
}

// eventsOfALook is what a look costs: an activity, a timer, and a workflow task after each.
const eventsOfALook = 11

// fillsHistory has the history grow as it does on a server.
func (p *planned) fillsHistory() {
	const often = 10 * time.Minute
	var grow func()
	grow = func() {
		p.env.SetCurrentHistoryLength(eventsOfALook * p.looks)
		p.env.RegisterDelayedCallback(grow, often)
	}
	p.env.RegisterDelayedCallback(grow, often)
}

func TestASoakOfADayFillsNoHistory(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally = firstApplied
	began := p.env.Now()
	require.Equal(t, runbook.PlanCompleted, p.soaks(t, "24h").State)
	require.Less(t, p.looks, 100)
	require.InDelta(t, 24, p.env.Now().Sub(began).Hours(), 0.1, "it ends with the soak")
}

// A device that fails during the soak is seen long before its end.
func TestADeviceThatFailsWhileItsWaveSoaksHoldsThePlan(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	began := p.env.Now()
	p.tally = func(asked int) activities.PlanTallyResult {
		if p.env.Now().Sub(began) > 12*time.Hour {
			return failing(asked)
		}
		return firstApplied(asked)
	}
	p.tells(t, 13*time.Hour, runbook.UpdateContinue) // which only a plan that is held takes
	p.soaks(t, "24h")
}

func TestAPlanThatWaitsForDaysFillsNoHistory(t *testing.T) {
	t.Parallel()
	for name, tally := range map[string]runbook.PlanTally{
		"for a device that polls on and never reports": {NotAsked: 1, Pending: 1},
		"for a human": {NotAsked: 1, Failed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlanned(t)
			p.tally = func(int) activities.PlanTallyResult { return counts(tally) }
			p.fillsHistory()
			p.tells(t, 4*24*time.Hour, runbook.UpdateAbort)
			require.Equal(t, runbook.PlanAborted, p.ends(t).State)
			require.Less(t, eventsOfALook*p.looks, 40_000)
		})
	}
}

// Another run of the plan has asked the devices, and was terminated.
func TestAWaveThatWasAskedLongAgoDoesNotSoakAgain(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.tally, p.since = firstApplied, 23*time.Hour
	began := p.env.Now()
	require.Equal(t, runbook.PlanCompleted, p.soaks(t, "24h").State)
	require.InDelta(t, 1, p.env.Now().Sub(began).Hours(), 0.1, "what is left of the soak")
}

func TestAWaveOfAnEarlierReleaseSoaksAgain(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	p.env.OnGetVersion("soak-from-answer", workflow.DefaultVersion, workflow.Version(1)).Return(workflow.DefaultVersion)
	p.tally, p.since = firstApplied, 23*time.Hour
	began := p.env.Now()
	require.Equal(t, runbook.PlanCompleted, p.soaks(t, "24h").State)
	require.InDelta(t, 24, p.env.Now().Sub(began).Hours(), 0.1)
}

// A command is written by a normal activity, whose command is stored together with the update's acceptance. Plans of
// earlier releases go on with a local one.
func TestACommandToAPlanIsWrittenOnceItIsAccepted(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]bool{"this release": false, "an earlier release": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlanned(t)
			if old {
				const newest = workflow.Version(1)
				p.env.OnGetVersion("plan-acts", workflow.DefaultVersion, newest).Return(newest)
				p.env.OnGetVersion("plan-acts-accepted", workflow.DefaultVersion, newest).Return(workflow.DefaultVersion)
			}
			var normal, local int
			p.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
				if info.ActivityType.Name == "RecordAct" {
					normal++
				}
			})
			p.env.SetOnLocalActivityStartedListener(func(*activity.Info, context.Context, []any) { local++ })
			p.tally = failing
			p.tells(t, time.Second, runbook.UpdateContinue)
			require.Equal(t, runbook.PlanCompleted, p.ends(t).State)
			require.Equal(t, []int{1, 0}, map[bool][]int{false: {normal, local}, true: {local, normal}}[old])
		})
	}
}

// The restore is superseded while a command to the plan is being written: the audit has that it did nothing.
func TestACommandThatComesTooLateIsRefusedInTheAudit(t *testing.T) {
	t.Parallel()
	p := newPlanned(t)
	var told []activities.ActInput
	p.env.OnActivity("RecordAct", mock.Anything).After(time.Minute).Return(
		func(in activities.ActInput) (activities.ActResult, error) {
			told = append(told, in)
			return activities.ActResult{Refusal: in.Refusal}, nil
		})
	began := p.env.Now()
	p.tally = func(asked int) activities.PlanTallyResult {
		result := failing(asked)
		result.Current = p.env.Now().Sub(began) < 20*time.Second
		return result
	}
	var answer error
	p.env.RegisterDelayedCallback(func() {
		p.env.UpdateWorkflow(runbook.UpdateContinue, "u1", &testsuite.TestUpdateCallback{
			OnReject: func(err error) { require.NoError(t, err) }, OnAccept: func() {},
			OnComplete: func(_ any, err error) { answer = err },
		}, runbook.PlanCommand{By: "bob", Reason: "looked at it"})
	}, time.Second)
	require.Equal(t, runbook.PlanSuperseded, p.ends(t).State)
	require.ErrorContains(t, answer, "plan p has ended (Superseded)")
	require.Len(t, told, 2)
	require.Equal(t, "update/u1", told[0].RequestID)
	require.Nil(t, told[0].Refusal)
	require.Equal(t, "refused/update/u1", told[1].RequestID)
	require.Equal(t, runbook.CodePlanEnded, told[1].Refusal.Code)
	require.Equal(t, "bob looked at it continue", told[1].By+" "+told[1].Reason+" "+string(told[1].Act))
}
