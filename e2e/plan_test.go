package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"

	"rollcall/activities"
	"rollcall/inventory"
	"rollcall/inventory/plans"
	"rollcall/runbook"
)

// pausedFleet is a restore in which each device of the fleet is paused: restored at 5, it runs 7.
func pausedFleet(t *testing.T, names ...string) *site {
	t.Helper()
	s := newSite(t)
	s.pauses(names...)
	return s
}

func (s *site) pauses(names ...string) {
	t := s.t
	t.Helper()
	restored := map[string]string{}
	for _, name := range names {
		restored[name] = "5"
	}
	s.fleet(restored).startWorker()
	s.restore(runbook.RestoreInput{RestoreID: "night", WatchInterval: "0"})
	for _, name := range names {
		s.awaitWorkflow(name)
		require.NoError(t,
			s.client.SignalWorkflow(t.Context(), deviceID(name), "", runbook.SignalReconnect,
				runbook.ReconnectSignal{RenderedVersion: "7"}))
	}
	s.awaitRoll(fmt.Sprintf(`select count(*) = %d from rollcall.roll where state = 'ConflictPaused'`, len(names)))
}

// A plan of many waves fills more than one history. It is held in a later one, told to go on, and completes.
func TestAPlanGoesOnInAFreshHistory(t *testing.T) {
	t.Parallel()
	s, _ := newRestartingSite(t, "limit.historyCount.suggestContinueAsNew=60")
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	s.pauses(names...)
	s.plan("p", names...)
	first := s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,2,3,4,5,6,7,100%"})
	for i, name := range names {
		s.awaitPlan("p", "asked", func(p runbook.PlanProgress) bool { return p.Resumed() == int64(i+1) })
		if name != "g" {
			s.applies(name, "Online")
			continue
		}
		s.applies(name, "Error")
		s.awaitPlan("p", "held", func(p runbook.PlanProgress) bool { return p.State == runbook.PlanHeld })
		s.tell("p", runbook.UpdateContinue)
	}
	var result runbook.PlanProgress
	require.NoError(t, first.Get(t.Context(), &result))
	require.Equal(t, runbook.PlanCompleted, result.State)
	require.EqualValues(t, 8, result.Resumed())
	require.Equal(t, "ann", result.By)
	page, err := s.client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Query: "WorkflowId = 'resume/p' AND ExecutionStatus = 'ContinuedAsNew'",
	})
	require.NoError(t, err)
	require.NotEmpty(t, page.GetExecutions())
	rows, err := s.store.Audit(t.Context(), inventory.AuditQuery{RestoreID: "night"})
	require.NoError(t, err)
	require.Len(t, slices.DeleteFunc(rows, func(r inventory.TransitionRow) bool {
		return r.Signal != string(runbook.ActResumePlan)
	}), 1, "one person has started it once")
}

func (s *site) awaitWorkflow(name string) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		_, err := s.status(name)
		require.NoError(c, err)
	}, waitLimit, 50*time.Millisecond)
}

func (s *site) awaitRoll(condition string, args ...any) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		var holds bool
		require.NoError(c, s.store.DB().GetContext(s.t.Context(), &holds, condition, args...))
		require.True(c, holds, condition)
	}, waitLimit, 50*time.Millisecond)
}

// plan freezes a set of devices, in this order, as they stand: each runs 7.
func (s *site) plan(id string, names ...string) {
	s.t.Helper()
	in := plans.New{
		ID: id, OrgID: runbook.DefaultOrgID, RestoreID: "night", By: "ann", Reason: "ticket 4711", ExpiresIn: time.Hour,
	}
	for _, name := range names {
		in.Devices = append(in.Devices, plans.Planned{Name: name, Reported: "7"})
	}
	require.NoError(s.t, plans.Plans{DB: s.store.DB()}.Create(s.t.Context(), in))
}

func (s *site) startPlan(in runbook.PlanInput) client.WorkflowRun {
	s.t.Helper()
	run, err := s.client.ExecuteWorkflow(s.t.Context(), client.StartWorkflowOptions{
		ID: runbook.ResumeWorkflowID(in.PlanID), TaskQueue: s.taskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, runbook.ResumeWorkflowName, in)
	require.NoError(s.t, err)
	return run
}

// tell sends a plan a human's word and returns where it stands after it.
func (s *site) tell(id, update string) (progress runbook.PlanProgress) {
	s.t.Helper()
	handle, err := s.client.UpdateWorkflow(s.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: runbook.ResumeWorkflowID(id), UpdateName: update, UpdateID: uuid.NewString(),
		WaitForStage: client.WorkflowUpdateStageCompleted,
		Args:         []any{runbook.PlanCommand{By: "bob", Reason: "looked at it"}},
	})
	require.NoError(s.t, err)
	require.NoError(s.t, handle.Get(s.t.Context(), &progress))
	return progress
}

// awaitPlan waits until the plan's workflow says what holds.
func (s *site) awaitPlan(id, what string, holds func(runbook.PlanProgress) bool) (progress runbook.PlanProgress) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		answer, err := s.client.QueryWorkflow(s.t.Context(), runbook.ResumeWorkflowID(id), "", runbook.QueryPlan)
		require.NoError(c, err)
		require.NoError(c, answer.Get(&progress))
		require.True(c, progress.AddsUp(), "%+v", progress)
		require.True(c, holds(progress), "%s: %+v", what, progress)
	}, waitLimit, 50*time.Millisecond)
	return progress
}

// applies has a device report the version that was rendered for it, as its agent's status would.
func (s *site) applies(name, summary string) {
	s.t.Helper()
	_, err := s.owner.DB().ExecContext(s.t.Context(), `
		update devices set status = status || jsonb_build_object('config', '{"renderedVersion": "8"}'::jsonb, 'summary',
		jsonb_build_object('status', $2::text))
		where name = $1`, name, summary)
	require.NoError(s.t, err)
}

func (s *site) stateOf(name string) (state string) {
	s.t.Helper()
	require.NoError(s.t,
		s.owner.DB().GetContext(s.t.Context(), &state, `select state from rollcall.roll where name = $1`, name))
	return state
}

// Three waves: the first has a failing device, a human looks and goes on; the second has one that is away and one that
// has moved since the plan was made; the third comes when the rest of the second has reported.
func TestAPlanOfThreeWaves(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b", "c", "d", "e", "f")
	s.plan("p", "a", "b", "c", "d", "e", "f")
	require.NoError(t,
		s.client.SignalWorkflow(t.Context(), deviceID("c"), "", runbook.SignalReconnect,
			runbook.ReconnectSignal{RenderedVersion: "9"}))
	s.awaitRoll(`select reported_version = '9' from rollcall.roll where name = 'c'`)

	run := s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann", Waves: "2,5,100%", AwayAfter: "1s"})
	s.awaitPlan("p", "wave 1 asked", func(p runbook.PlanProgress) bool { return p.Wave == 1 && p.Resumed() == 2 })
	require.Equal(t, "ConflictPaused", s.stateOf("d"), "the second wave waits for the first")
	s.applies("a", "Error")
	held := s.awaitPlan("p", "held", func(p runbook.PlanProgress) bool { return p.State == runbook.PlanHeld })
	require.EqualValues(t, 1, held.Failed)
	require.Equal(t, "ConflictPaused", s.stateOf("d"))

	// The worker dies while the plan is held: nothing is forgotten.
	s.stopWorker()
	s.startWorker()
	progress := s.tell("p", runbook.UpdateContinue)
	require.Equal(t, runbook.PlanRunning, progress.State)
	s.applies("b", "Online")
	s.awaitPlan("p", "wave 2 asked", func(p runbook.PlanProgress) bool { return p.Wave >= 2 && p.Refused == 1 })
	require.Equal(t, "ConflictPaused", s.stateOf("c"), "it has moved since it was looked at")
	s.applies("d", "Online") // and e stays away

	var result runbook.PlanProgress
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, runbook.PlanCompleted, result.State)
	require.True(t, result.AddsUp(), "%+v", result)
	require.EqualValues(t, 1, result.Refused)
	require.EqualValues(t, 5, result.Resumed())
	require.GreaterOrEqual(t, result.Away, int64(1), "%+v", result)
	devices, err := plans.Plans{DB: s.store.DB()}.Devices(t.Context(), "p", time.Second)
	require.NoError(t, err)
	byName := map[string]plans.Device{}
	for _, d := range devices {
		byName[d.Name] = d
	}
	require.Equal(t, runbook.CodeVersionChanged, byName["c"].Code)
	require.Equal(t, []int{0, 0, 1, 1, 1, 2},
		[]int{byName["a"].Wave, byName["b"].Wave, byName["c"].Wave, byName["d"].Wave, byName["e"].Wave, byName["f"].Wave})
	require.Equal(t, "Failed", byName["a"].Became)
	require.Equal(t, "8", byName["a"].Next)
	for _, name := range []string{"a", "b", "d", "e", "f"} {
		require.Equal(t, "Normal", s.stateOf(name), name)
	}
	rows, err := s.store.Transitions(t.Context(), runbook.DefaultOrgID, "f", 1)
	require.NoError(t, err)
	require.Equal(t, "ann", rows[0].Actor)
	require.Equal(t, "ticket 4711", rows[0].Reason)
}

// An aborted plan leaves whoever was not asked as they are; a retried one waits again for who failed.
func TestAPlanThatIsRetriedAndAborted(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	run := s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,100%"})
	s.awaitPlan("p", "wave 1 asked", func(p runbook.PlanProgress) bool { return p.Resumed() == 1 })
	s.applies("a", "Error")
	s.awaitPlan("p", "held", func(p runbook.PlanProgress) bool { return p.State == runbook.PlanHeld })
	require.Equal(t, runbook.PlanRunning, s.tell("p", runbook.UpdateRetryFailed).State)
	require.Equal(t, runbook.PlanAborted, s.tell("p", runbook.UpdateAbort).State)
	var result runbook.PlanProgress
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, runbook.PlanAborted, result.State)
	require.Equal(t, "Aborted by bob: looked at it", result.Why)
	require.EqualValues(t, 1, result.NotAsked)
	require.Equal(t, "ConflictPaused", s.stateOf("b"))
	plan, err := plans.Plans{DB: s.store.DB()}.Get(t.Context(), "p")
	require.NoError(t, err)
	require.Equal(t, runbook.PlanAborted, plan.State)
	require.Equal(t, "bob", plan.EndedBy)
}

// A restore that is superseded ends its plans, and nothing of them acts afterwards.
func TestASupersededRestoreEndsItsPlans(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	run := s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,100%"})
	s.awaitPlan("p", "wave 1 asked", func(p runbook.PlanProgress) bool { return p.Resumed() == 1 })
	s.restore(runbook.RestoreInput{RestoreID: "second", Supersede: true, WatchInterval: "0"})
	var result runbook.PlanProgress
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, runbook.PlanSuperseded, result.State)
	require.EqualValues(t, 1, result.NotAsked)
}

// The plan's last wave completes its restore. The plan is complete then, whoever comes first.
func TestAPlanThatCompletesItsRestore(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	run := s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann"})
	var result runbook.PlanProgress
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, runbook.PlanCompleted, result.State, result.Why)
	require.EqualValues(t, 2, result.Resumed())
	s.awaitRoll(`select state = 'Completed' from rollcall.restores where id = 'night'`)
}

// The restore has completed while the plan waits for its first wave: the second is asked, and says that it was resumed.
func TestAPlanGoesOnAfterItsRestoreHasCompleted(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	run := s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,100%"})
	s.awaitPlan("p", "wave 1 asked", func(p runbook.PlanProgress) bool { return p.Resumed() == 1 })
	require.True(t, s.asks("b", runbook.ResumeRequest{By: "carl"}).Accepted)
	s.awaitRoll(`select state = 'Completed' from rollcall.restores where id = 'night'`)
	s.applies("a", "Online")
	var result runbook.PlanProgress
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, runbook.PlanCompleted, result.State, result.Why)
	require.EqualValues(t, 1, result.Resumed())
	require.EqualValues(t, 1, result.Refused)
}

// A device is resumed for a plan, and the plan is ended before the answer is stored. The audit has it. Once the plan
// has ended, no device is resumed for it.
func TestAPlanThatEndsCountsWhoWasResumed(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	stored := plans.Plans{DB: s.working.DB()}
	_, err := stored.Begin(t.Context(), runbook.PlanInput{PlanID: "p", By: "ann"}, runbook.Asserted,
		runbook.ResumePolicy{})
	require.NoError(t, err)
	require.NoError(t, stored.BeginWave(t.Context(), "p", 0))
	resumes := func(name string) inventory.Transitioned {
		done, err := s.working.Resume(t.Context(), inventory.ResumeInput{
			RestoreID: "night", OrgID: runbook.DefaultOrgID, Name: name,
			By: "ann", ExpectVersion: "7", RequestID: "update/plan/p",
			Who: inventory.Who{DecisionID: inventory.PlanDecision("p")},
		})
		require.NoError(t, err)
		return done
	}
	require.Nil(t, resumes("a").Refusal)
	require.NoError(t, stored.Move(t.Context(), "p", runbook.PlanAborted, "bob", ""))
	late := resumes("b")
	require.Equal(t, runbook.CodeNotInPlan, late.Refusal.Code)
	require.Equal(t, "ConflictPaused", s.stateOf("b"))

	devices, err := stored.Devices(t.Context(), "p", time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{plans.AnswerResumed, ""}, []string{devices[0].Answer, devices[1].Answer})
	require.Equal(t, "8", devices[0].Next)
	tally, err := stored.Tally(t.Context(), "p", time.Minute)
	require.NoError(t, err)
	require.Equal(t, runbook.PlanTally{Total: 2, NotAsked: 1, Pending: 1}, tally)
}

func TestAPlanThatMayNotRunIsRefused(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a")
	s.plan("old", "a")
	_, err := s.owner.DB().ExecContext(t.Context(),
		`update rollcall.plans set expires_at = now() - interval '1 second' where id = 'old'`)
	require.NoError(t, err)
	require.ErrorContains(t, s.startPlan(runbook.PlanInput{PlanID: "old", By: "ann"}).Get(t.Context(), nil), "expired")
	require.ErrorContains(t, s.startPlan(runbook.PlanInput{PlanID: "none", By: "ann"}).Get(t.Context(), nil),
		"there is no plan none")
	require.Equal(t, "ConflictPaused", s.stateOf("a"))
}

// A worker that demands reasons and plans refuses whatever comes without, by update and by signal alike, and says what
// to do.
func TestAWorkerThatDemandsReasonsAndPlans(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b", "c")
	s.stopWorker()
	s.policy = runbook.ResumePolicy{RequireReason: true, MaxShare: 0.4}
	s.startWorker()
	require.Equal(t, runbook.CodeReasonRequired, s.asks("a", runbook.ResumeRequest{By: "ann"}).Code)
	refused := s.asks("a", runbook.ResumeRequest{By: "ann", Reason: "checked"})
	require.Equal(t, runbook.CodePlanRequired, refused.Code)
	require.Contains(t, refused.Message, "starter plan resume")
	require.Equal(t, runbook.CodeNotInPlan,
		s.asks("a", runbook.ResumeRequest{By: "ann", Reason: "checked", Plan: "forged", ExpectVersion: "7"}).Code)
	require.NoError(t,
		s.client.SignalWorkflow(t.Context(), deviceID("a"), "", runbook.SignalResume,
			runbook.ResumeRequest{By: "eve", Reason: "x"}))
	s.awaitRoll(`select count(*) = 1 from rollcall.transitions where actor = 'eve' and code = 'PlanRequired'`)
	require.Equal(t, "ConflictPaused", s.stateOf("a"))

	s.plan("large", "a", "b")
	require.ErrorContains(t, s.startPlan(runbook.PlanInput{PlanID: "large", By: "ann"}).Get(t.Context(), nil),
		"2 of 3 devices, and at most 40%")
	s.plan("small", "a")
	var result runbook.PlanProgress
	require.NoError(t, s.startPlan(runbook.PlanInput{PlanID: "small", By: "ann"}).Get(t.Context(), &result))
	require.EqualValues(t, 1, result.Resumed())
	require.Equal(t, "Normal", s.stateOf("a"))
}

// missingFirst is a Temporal in which the workflow of a device is started only after two questions.
type missingFirst struct {
	client.Client
	asked int
}

func (c *missingFirst) UpdateWorkflow(
	ctx context.Context, options client.UpdateWorkflowOptions,
) (client.WorkflowUpdateHandle, error) {
	if c.asked++; c.asked <= 2 {
		return nil, serviceerror.NewNotFound("workflow not found")
	}
	return c.Client.UpdateWorkflow(ctx, options)
}

// A device is paused, and its restore is still starting its workflow: the plan asks again. A device that no restore
// waits for is asked once.
func TestAPlanWaitsForAWorkflowThatIsBeingStarted(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	_, err := plans.Plans{DB: s.working.DB()}.Begin(t.Context(), runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,2"},
		runbook.Asserted, runbook.ResumePolicy{})
	require.NoError(t, err)
	_, err = s.owner.DB().ExecContext(t.Context(), `update devices set annotations = '{}' where name = 'b'`)
	require.NoError(t, err)
	for wave, want := range []struct {
		answer string
		asked  int
	}{{plans.AnswerResumed, 3}, {plans.AnswerRefused, 1}} {
		temporal := &missingFirst{Client: s.client}
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		acts := &activities.Activities{Inventory: s.working, Updater: temporal}
		env.RegisterActivity(acts)
		_, err = env.ExecuteActivity(acts.AskWave,
			activities.AskWaveInput{PlanID: "p", OrgID: runbook.DefaultOrgID, Wave: wave, By: "ann"})
		require.NoError(t, err)
		devices, err := plans.Plans{DB: s.store.DB()}.Devices(t.Context(), "p", time.Minute)
		require.NoError(t, err)
		require.Equal(t, want.answer, devices[wave].Answer, devices[wave].Message)
		require.Equal(t, want.asked, temporal.asked)
	}
}

// gone is a Temporal in which no device has a workflow.
type gone struct{ client.Client }

func (gone) UpdateWorkflow(context.Context, client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	return nil, serviceerror.NewNotFound("workflow execution already completed")
}

// A device is resumed for a plan, Temporal forgets the update, and the device's workflow ends before the plan asks
// again. The audit knows whose resume it was. What the plan took for a refusal before is corrected when it ends.
func TestAPlanKnowsADeviceThatItHasResumed(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b", "c")
	s.plan("p", "a", "b")
	stored := plans.Plans{DB: s.working.DB()}
	_, err := stored.Begin(t.Context(), runbook.PlanInput{PlanID: "p", By: "ann"}, runbook.Asserted,
		runbook.ResumePolicy{})
	require.NoError(t, err)
	require.NoError(t, stored.BeginWave(t.Context(), "p", 0))
	for _, name := range []string{"a", "b"} {
		done, err := s.working.Resume(t.Context(), inventory.ResumeInput{
			RestoreID: "night", OrgID: runbook.DefaultOrgID, Name: name,
			By: "ann", ExpectVersion: "7", RequestID: "update/plan/p",
			Who: inventory.Who{DecisionID: inventory.PlanDecision("p")},
		})
		require.NoError(t, err)
		require.Nil(t, done.Refusal)
	}
	require.NoError(t, stored.Answer(t.Context(), "p", plans.Device{Name: "a", Answer: plans.AnswerUnknown}))
	refused := plans.Device{Name: "b", Answer: plans.AnswerRefused, Code: runbook.CodeNotWaiting}
	require.NoError(t, stored.Answer(t.Context(), "p", refused))

	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	acts := &activities.Activities{Inventory: s.working, Updater: gone{s.client}}
	env.RegisterActivity(acts)
	_, err = env.ExecuteActivity(acts.AskWave,
		activities.AskWaveInput{PlanID: "p", OrgID: runbook.DefaultOrgID, By: "ann"})
	require.NoError(t, err)
	answers := func() (all []string) {
		devices, err := stored.Devices(t.Context(), "p", time.Minute)
		require.NoError(t, err)
		for _, d := range devices {
			all = append(all, d.Answer+" "+d.Next+" "+string(d.Code))
		}
		return all
	}
	require.Equal(t, []string{"Resumed 8 ", "Refused  NotWaiting"}, answers())
	require.NoError(t, stored.Move(t.Context(), "p", runbook.PlanAborted, "bob", ""))
	require.Equal(t, []string{"Resumed 8 ", "Resumed 8 "}, answers())
}

// A device has answered that it was resumed, and PostgreSQL is put back to before that when the plan stores the answer.
func TestAPlanDoesNotCountAResumeThatTheDatabaseHasLost(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	stored := plans.Plans{DB: s.working.DB()}
	_, err := s.working.Resume(t.Context(), inventory.ResumeInput{
		RestoreID: "night", OrgID: runbook.DefaultOrgID, Name: "b", By: "ann", ExpectVersion: "7", RequestID: "u1",
	})
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		resumed := plans.Device{Name: name, Answer: plans.AnswerResumed, Next: "8"}
		require.NoError(t, stored.Answer(t.Context(), "p", resumed))
	}
	devices, err := stored.Devices(t.Context(), "p", time.Minute)
	require.NoError(t, err)
	var answers []string
	for _, d := range devices {
		answers = append(answers, d.Answer+" "+d.Next+" "+string(d.Code))
	}
	require.Equal(t, []string{"Refused  Lost", "Resumed 8 "}, answers)
}

// Anyone who can send messages names a running plan, and the person who has started it. The waves and the hold count
// all the same, and the name stays asserted. The plan asks the device in its turn.
func TestAMessageThatNamesAPlanIsNotThePlans(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b", "c")
	s.plan("p", "a", "b", "c")
	run := s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,2,3", AwayAfter: "1s"})
	s.awaitPlan("p", "wave 1 asked", func(p runbook.PlanProgress) bool { return p.Wave == 1 && p.Resumed() == 1 })
	_, err := s.owner.DB().ExecContext(t.Context(), `update rollcall.plans set decided_identity = 'authenticated'`)
	require.NoError(t, err)
	hers := runbook.ResumeRequest{By: "ann", Plan: "p", ExpectVersion: "7"}
	early, err := s.resume("b", "plan/p", hers)
	require.NoError(t, err)
	require.Equal(t, runbook.CodePlanWaits, early.Code, "wave 2 has not begun")

	s.applies("a", "Error")
	s.awaitPlan("p", "held", func(p runbook.PlanProgress) bool { return p.State == runbook.PlanHeld })
	require.NoError(t, s.client.SignalWorkflow(t.Context(), deviceID("b"), "", runbook.SignalResume, hers))
	s.awaitRoll(`select count(*) = 1 from rollcall.transitions where name = 'b' and signal = 'resume'
		and code = 'NotInPlan' and identity = 'asserted' and decision_id = ''`)
	held, err := s.resume("c", "plan/p", hers)
	require.NoError(t, err)
	require.Equal(t, runbook.CodePlanWaits, held.Code)
	for _, name := range []string{"b", "c"} {
		require.Equal(t, "ConflictPaused", s.stateOf(name), name)
	}
	// Of a wave that was asked, the plan is held all the same.
	require.Equal(t, runbook.CodePlanWaits, s.planRefuses("p", "a"))

	s.tell("p", runbook.UpdateContinue)
	var result runbook.PlanProgress
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, runbook.PlanCompleted, result.State, result.Why)
	require.EqualValues(t, 3, result.Resumed(), "%+v", result)
	s.awaitRoll(`select count(*) = 2 from rollcall.transitions where name in ('b', 'c') and transition = 'T4'
		and identity = 'authenticated' and decision_id = 'plan/p' and via = 'plan'`)
}

// planRefuses is the code with which the database refuses a decision that names a plan.
func (s *site) planRefuses(planID, name string) runbook.Code {
	s.t.Helper()
	_, err := plans.Plans{DB: s.working.DB()}.Holds(s.t.Context(), planID, runbook.DefaultOrgID,
		plans.Planned{Name: name, Reported: "7"}, "ann")
	require.Error(s.t, err)
	return runbook.AsRefusal(err).Code
}

// A worker of an earlier release has begun a plan, and its waves are not counted. Its workflow is started again while
// it is held.
func TestAPlanThatAnEarlierReleaseHasBegun(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	stored := plans.Plans{DB: s.working.DB()}
	begin := func() {
		_, err := stored.Begin(t.Context(), runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,2"}, runbook.Asserted,
			runbook.ResumePolicy{})
		require.NoError(t, err)
	}
	begin()
	_, err := s.owner.DB().ExecContext(t.Context(), `update rollcall.plans set waves_asked = null`)
	require.NoError(t, err)
	may := func(name string) error {
		_, err := stored.Holds(t.Context(), "p", runbook.DefaultOrgID, plans.Planned{Name: name, Reported: "7"}, "ann")
		return err
	}
	require.NoError(t, stored.BeginWave(t.Context(), "p", 0))
	require.NoError(t, may("b"), "its waves are not counted")
	require.NoError(t, stored.Move(t.Context(), "p", runbook.PlanHeld, "", ""))
	require.Equal(t, runbook.CodePlanWaits, s.planRefuses("p", "b"))
	begin()
	require.Equal(t, runbook.CodePlanWaits, s.planRefuses("p", "a"), "it runs again from its first wave on")
	require.NoError(t, stored.BeginWave(t.Context(), "p", 0))
	require.NoError(t, may("a"))
	require.Equal(t, runbook.CodePlanWaits, s.planRefuses("p", "b"))
	var result runbook.PlanProgress
	s.startPlan(runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,2", AwayAfter: "1s"})
	s.awaitPlan("p", "wave 1 asked", func(p runbook.PlanProgress) bool { return p.Resumed() == 1 })
	s.applies("a", "Online")
	require.NoError(t, s.client.GetWorkflow(t.Context(), runbook.ResumeWorkflowID("p"), "").Get(t.Context(), &result))
	require.Equal(t, runbook.PlanCompleted, result.State)
	require.EqualValues(t, 2, result.Resumed())
}

// A plan is terminated while its first wave soaks, and started again when the wave has lasted its time.
func TestAPlanThatWasTerminatedDoesNotSoakAgain(t *testing.T) {
	t.Parallel()
	s := pausedFleet(t, "a", "b")
	s.plan("p", "a", "b")
	in := runbook.PlanInput{PlanID: "p", By: "ann", Waves: "1,2", Soak: "1h"}
	s.startPlan(in)
	s.awaitPlan("p", "wave 1 asked", func(p runbook.PlanProgress) bool { return p.Resumed() == 1 })
	s.applies("a", "Online")
	s.awaitPlan("p", "wave 1 soaks", func(p runbook.PlanProgress) bool { return p.Applied == 1 })
	require.NoError(t, s.client.TerminateWorkflow(t.Context(), runbook.ResumeWorkflowID("p"), "", "its history is full"))
	_, err := s.owner.DB().ExecContext(t.Context(),
		`update rollcall.plan_devices set answered_at = answered_at - interval '1 hour' where name = 'a'`)
	require.NoError(t, err)
	var result runbook.PlanProgress
	require.NoError(t, s.startPlan(in).Get(t.Context(), &result))
	require.Equal(t, runbook.PlanCompleted, result.State)
	require.EqualValues(t, 2, result.Resumed())
}

// asks resumes a device by its update.
func (s *site) asks(name string, request runbook.ResumeRequest) runbook.ResumeDecision {
	s.t.Helper()
	decision, err := s.resume(name, uuid.NewString(), request)
	require.NoError(s.t, err)
	return decision
}
