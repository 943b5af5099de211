package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// ResumeWorkflow carries out a plan: it asks the devices of one wave after the other to take a human's decision, and
// waits until those of a wave have applied it before it asks the next ones. Too many failures hold the rest for a
// human. Cancelling it aborts the plan: whoever was not asked stays paused.
func ResumeWorkflow(ctx workflow.Context, in runbook.PlanInput) (runbook.PlanProgress, error) {
	p, err := setUpPlan(ctx, in)
	if err != nil {
		return runbook.PlanProgress{}, err
	}
	return p.run(ctx)
}

// resumePlan is the state of one ResumeWorkflow.
type resumePlan struct {
	in       runbook.PlanInput
	rollout  runbook.Rollout
	begun    activities.BeginPlanResult
	progress runbook.PlanProgress
	// pending is the name of the update that the plan has not acted on yet, and pendingInput is its input. A plan acts
	// on one command at a time.
	pending      string
	pendingInput runbook.PlanCommand
	// acted are the ids of the updates that the plan has acted on, the newest last.
	acted []string
	// checking reports whether a command is being checked in the database.
	checking bool
	inbox    *mailbox
	// tolerated is how many failures a human has accepted; so many more than MaxFailures do not hold the plan.
	tolerated int64
	// graceUntil is until when failures do not hold the plan, after a human has told it to try them again.
	graceUntil time.Time
	log        log.Logger
}

func setUpPlan(ctx workflow.Context, in runbook.PlanInput) (*resumePlan, error) {
	rollout, err := in.Check()
	if err == nil {
		err = checkPlanWorkflow(ctx, in)
	}
	if err != nil {
		return nil, asFailure(err)
	}
	p := &resumePlan{
		in: in, rollout: rollout,
		progress: runbook.PlanProgress{PlanID: in.PlanID, State: runbook.PlanPlanned, By: in.By, Reason: in.Reason},
		inbox:    openMailbox(ctx),
		log:      log.With(workflow.GetLogger(ctx), "plan", in.PlanID),
	}
	if in.Carried != nil {
		p.takeOver(in.Carried)
	}
	p.showDetails(ctx)
	if err := workflow.SetQueryHandler(ctx, runbook.QueryPlan,
		func() (runbook.PlanProgress, error) { return p.progress, nil }); err != nil {
		return nil, fmt.Errorf("register query %s: %w", runbook.QueryPlan, err)
	}
	for _, update := range planUpdates {
		if err := p.listen(ctx, update.name, update.description); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// planUpdates are the updates of a plan, with what the web UI says of each.
var planUpdates = []struct{ name, description string }{
	{runbook.UpdateContinue, "Go on with the next wave although devices have failed"},
	{runbook.UpdateAbort, "End the plan; whoever was not asked stays paused"},
	{runbook.UpdateRetryFailed, "Ask again who gave no answer, and wait again for who failed"},
}

// checkPlanWorkflow refuses a workflow whose id is not the plan's, and one that says that it goes on with a run, and
// does not: who decides and what may be asked is checked when a plan begins.
func checkPlanWorkflow(ctx workflow.Context, in runbook.PlanInput) error {
	info := workflow.GetInfo(ctx)
	if id, want := info.WorkflowExecution.ID, runbook.ResumeWorkflowID(in.PlanID); id != want {
		return runbook.Refuse(runbook.CodeInvalidRequest,
			"the workflow id is %q but must be %q; start it with `starter resume --plan %s`", id, want, in.PlanID)
	}
	if in.Carried != nil && !goesOn(info) {
		return runbook.Refuse(runbook.CodeInvalidRequest,
			"this workflow goes on with no run of the plan; start it with `starter resume --plan %s`", in.PlanID)
	}
	return nil
}

// goesOn reports whether a run was made by the run before it, and has its input from there. Runs by a cron schedule and
// by a retry policy continue others as well, with an input that whoever has started the first one chose.
func goesOn(info *workflow.Info) bool {
	return info.ContinuedExecutionRunID != "" && info.CronSchedule == "" && info.Attempt <= 1
}

// listen registers an update. Its caller hears where the plan stands once the plan has acted on it.
func (p *resumePlan) listen(ctx workflow.Context, name, description string) error {
	may := func(ctx workflow.Context) error {
		if p.hasActed(ctx) {
			return nil
		}
		return p.checkCommand(name)
	}
	return answerUpdates(ctx, name, description, may,
		func(ctx workflow.Context, command runbook.PlanCommand) (runbook.PlanProgress, error) {
			return p.command(ctx, name, command)
		})
}

// hasActed reports whether an earlier run of the plan has acted on the update. Within a run Temporal answers it.
func (p *resumePlan) hasActed(ctx workflow.Context) bool {
	return slices.Contains(p.acted, updateRequest(ctx))
}

// checkCommand refuses a command that does not fit the plan's state.
func (p *resumePlan) checkCommand(name string) error {
	switch {
	case p.progress.State.Ended():
		return runbook.Refuse(runbook.CodePlanEnded, "plan %s has ended (%s)", p.in.PlanID, p.progress.State)
	case p.pending != "":
		return runbook.Refuse(runbook.CodeInvalidRequest, "%s has just told the plan to %s; look again", p.pendingInput.By,
			p.pending)
	case p.checking:
		return runbook.Refuse(runbook.CodeInvalidRequest, "another command to the plan is being checked; look again")
	case name != runbook.UpdateAbort && p.progress.State != runbook.PlanHeld:
		return runbook.Refuse(runbook.CodeInvalidRequest, "plan %s is %s and not Held; there is nothing to %s", p.in.PlanID,
			p.progress.State, name)
	}
	return nil
}

// command hands a command to the plan, and waits until the plan has acted on it. Two commands that arrive in one
// workflow task have both passed the validator, so the second is refused here.
func (p *resumePlan) command(
	ctx workflow.Context, name string, command runbook.PlanCommand,
) (runbook.PlanProgress, error) {
	if p.hasActed(ctx) {
		return p.progress, nil
	}
	if err := p.checkCommand(name); err != nil {
		return runbook.PlanProgress{}, asFailure(err)
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := p.recordAct(ctx, name, command); err != nil {
		return runbook.PlanProgress{}, asFailure(err)
	}
	p.pending, p.pendingInput = name, command
	p.acted = append(p.acted, updateRequest(ctx))
	p.log.Info("Plan was told", "command", name, "by", command.By, "reason", command.Reason)
	err := workflow.Await(ctx, func() bool {
		return p.progress.State.Ended() || p.pending == "" && name != runbook.UpdateAbort
	})
	return p.progress, err
}

// changePlanActs marks the plans whose commands are checked in the database and written to the audit.
const changePlanActs = "plan-acts"

// changePlanActsAccepted marks the plans that write a command to the audit only once Temporal has stored that there is
// such an update, and write there as well that the plan has ended before it could act on the command. Those of earlier
// releases write a command before, and nothing more.
const changePlanActsAccepted = "plan-acts-accepted"

// recordAct checks who gives a command, and writes it to the audit. No other command is heard meanwhile.
func (p *resumePlan) recordAct(ctx workflow.Context, name string, command runbook.PlanCommand) error {
	if workflow.GetVersion(ctx, changePlanActs, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	run, early := runAccepted, false
	if workflow.GetVersion(ctx, changePlanActsAccepted, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		run, early = runTransition, true
	}
	act := activities.ActInput{
		Act: runbook.Act(name), OrgID: p.begun.OrgID, RestoreID: p.begun.RestoreID, PlanID: p.in.PlanID, By: command.By,
		Reason:    command.Reason,
		RequestID: updateRequest(ctx), Origin: command.Origin,
	}
	p.checking = true
	var result activities.ActResult
	err := run(ctx, name+" by "+command.By, acts.RecordAct, act, &result)
	p.checking = false
	if err != nil {
		return err
	}
	if result.Refusal != nil {
		return result.Refusal
	}
	refusal := runbook.AsRefusal(p.checkCommand(name)) // the plan has gone on meanwhile
	if refusal == nil {
		return nil
	}
	if !early {
		act.RequestID, act.Refusal = "refused/"+act.RequestID, refusal
		if err := run(ctx, "refuse to "+name, acts.RecordAct, act, nil); err != nil {
			p.log.Error("The audit does not say that a command was refused", "command", name, "by", command.By, "error", err)
		}
	}
	return refusal
}

// refuseSignals says in the details and in the query that a signal did nothing. Its sender has heard nothing else.
func (p *resumePlan) refuseSignals(ctx workflow.Context) {
	for !p.inbox.empty(ctx) {
		if name, _, ok := p.inbox.nextUnknown(ctx); ok {
			refusal := runbook.PlanHearsNoSignal(p.in.PlanID, name)
			p.progress.RefusedSignal = p.progress.RefusedSignal.Then(name, workflow.Now(ctx), refusal)
			p.log.Warn("Message refused", "message", runbook.Storable(name), "error", refusal)
			p.showDetails(ctx)
		}
	}
}

// run is the story of a plan.
func (p *resumePlan) run(ctx workflow.Context) (runbook.PlanProgress, error) {
	running, stop := workflow.WithCancel(ctx)
	defer stop()
	steady, _ := workflow.NewDisconnectedContext(ctx)
	workflow.Go(steady, func(ctx workflow.Context) {
		for workflow.Await(ctx, func() bool { return !p.inbox.empty(ctx) }) == nil {
			p.refuseSignals(ctx)
		}
	})
	workflow.Go(running, func(ctx workflow.Context) { // an abort ends whatever the plan waits for
		if workflow.Await(ctx, func() bool { return p.pending == runbook.UpdateAbort }) == nil {
			stop()
		}
	})
	if err := p.begin(running); temporal.IsCanceledError(err) {
		return p.finish(ctx, err)
	} else if err != nil {
		return runbook.PlanProgress{}, asFailure(err)
	}
	err := p.runWaves(running)
	if workflow.IsContinueAsNewError(err) {
		return runbook.PlanProgress{}, err
	}
	return p.finish(ctx, err)
}

// takeOver goes on where the run before has ended.
func (p *resumePlan) takeOver(c *runbook.PlanCarried) {
	p.progress, p.tolerated, p.graceUntil, p.acted = c.Progress, c.Tolerated, c.GraceUntil, c.Acted
	p.begun = activities.BeginPlanResult{
		OrgID: c.OrgID, RestoreID: c.Progress.RestoreID, By: c.Progress.By, Reason: c.Progress.Reason,
		Waves: c.Progress.Waves, Devices: c.Progress.Total,
	}
}

// begin checks in the database who decides, and how many waves there are. A run that goes on with another one knows.
func (p *resumePlan) begin(ctx workflow.Context) error {
	if p.in.Carried != nil {
		return nil
	}
	if err := runBulk(ctx, "begin the plan", acts.BeginPlan, p.in, &p.begun); err != nil {
		return err
	}
	p.progress.RestoreID, p.progress.Waves, p.progress.Total = p.begun.RestoreID, p.begun.Waves, p.begun.Devices
	p.progress.By, p.progress.Reason, p.progress.NotAsked = p.begun.By, p.begun.Reason, p.begun.Devices
	p.setState(ctx, runbook.PlanRunning, "")
	return nil
}

// changeContinuePlan marks the plans that hand the rest of their waves to a fresh history, before many waves fill this
// one. Those of earlier releases go on in theirs.
const changeContinuePlan = "continue-plan"

// actedCarried is how many updates a run tells the next one that it has acted on.
const actedCarried = 20

// continueAsNew returns the error that ends this run, where its history has grown long, and no command and no
// cancellation waits to be heard.
func (p *resumePlan) continueAsNew(ctx workflow.Context) error {
	if !workflow.GetInfo(ctx).GetContinueAsNewSuggested() || ctx.Err() != nil || !workflow.AllHandlersFinished(ctx) ||
		workflow.GetVersion(ctx, changeContinuePlan, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	p.refuseSignals(ctx)
	in := p.in
	in.Carried = &runbook.PlanCarried{
		OrgID: p.begun.OrgID, Progress: p.progress, Tolerated: p.tolerated, GraceUntil: p.graceUntil,
		Acted: p.acted[max(0, len(p.acted)-actedCarried):],
	}
	return workflow.NewContinueAsNewError(ctx, runbook.ResumeWorkflowName, in)
}

func (p *resumePlan) runWaves(ctx workflow.Context) error {
	for wave := p.progress.Wave; wave < p.begun.Waves; wave++ {
		if err := p.continueAsNew(ctx); err != nil {
			return err
		}
		p.progress.Wave = wave + 1
		asked, err := p.ask(ctx, wave)
		if err != nil {
			return err
		}
		if err := p.awaitWave(ctx, p.waveBegan(ctx, asked), wave == p.begun.Waves-1); err != nil {
			return err
		}
	}
	return nil
}

// ask asks the devices of a wave.
func (p *resumePlan) ask(ctx workflow.Context, wave int) (asked activities.AskWaveResult, err error) {
	p.setState(ctx, runbook.PlanRunning, fmt.Sprintf("Asks the devices of wave %d of %d.", wave+1, p.begun.Waves))
	summary := fmt.Sprintf("resume wave %d of %d, decided by %s", wave+1, p.begun.Waves, p.begun.By)
	err = runActivity(withAskOptions(ctx, summary), acts.AskWave, activities.AskWaveInput{
		PlanID: p.in.PlanID, OrgID: p.begun.OrgID, Wave: wave, By: p.begun.By, Reason: p.begun.Reason,
		Timeout: p.rollout.AskTimeout,
	}, &asked)
	return asked, err
}

// changeSoakFromAnswer marks the plans whose waves have lasted since their devices have answered, whoever has asked
// them. A wave of an earlier release lasts from when the plan comes to it, also where another run has asked it before.
const changeSoakFromAnswer = "soak-from-answer"

// waveBegan is the time from which on a wave has lasted.
func (p *resumePlan) waveBegan(ctx workflow.Context, asked activities.AskWaveResult) time.Time {
	now := workflow.Now(ctx)
	if p.rollout.Soak == 0 || asked.Since == 0 ||
		workflow.GetVersion(ctx, changeSoakFromAnswer, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return now
	}
	return now.Add(-asked.Since)
}

// awaitWave waits until each device of the waves so far has applied the decision, has failed, or is away, and the wave
// has lasted its time. The plan does not wait for the devices of the last wave, because every device has its answer
// then.
func (p *resumePlan) awaitWave(ctx workflow.Context, began time.Time, last bool) error {
	wait := p.newWait(ctx)
	for {
		if err := p.readTally(ctx); err != nil {
			return err
		}
		if p.failedTooOften(ctx) {
			if err := p.awaitCommand(ctx); err != nil {
				return err
			}
			wait = p.newWait(ctx)
			continue
		}
		soak := p.rollout.Soak - workflow.Now(ctx).Sub(began)
		if (last || soak <= 0 && p.progress.Pending == 0) && !p.waitsForFailed(ctx) {
			return nil
		}
		longest := lastPlanPoll
		if soak > 0 && p.progress.Pending == 0 {
			longest = lastSoakPoll
		}
		pause := wait.next(longest, workflow.GetInfo(ctx).GetCurrentHistoryLength())
		if soak > 0 {
			pause = min(pause, soak)
		}
		p.setState(ctx, runbook.PlanRunning, fmt.Sprintf(
			"Waits for wave %d of %d: %d devices have not reported the rendered version yet, and %d have failed.",
			p.progress.Wave, p.progress.Waves, p.progress.Pending, p.progress.Failures()))
		timer := workflow.NewTimerWithOptions(ctx, pause,
			workflow.TimerOptions{Summary: "look again what the devices report"})
		if err := timer.Get(ctx, nil); err != nil {
			return err
		}
	}
}

// newWait begins a wait for devices or for a human.
func (p *resumePlan) newWait(ctx workflow.Context) *planWait {
	return newPlanWait(workflow.GetInfo(ctx).GetCurrentHistoryLength(), p.begun.Waves-p.progress.Wave)
}

// overLimit reports whether more devices have failed than may.
func (p *resumePlan) overLimit() bool {
	return p.progress.Failures() > int64(p.in.MaxFailures)+p.tolerated
}

func (p *resumePlan) failedTooOften(ctx workflow.Context) bool {
	return p.overLimit() && !workflow.Now(ctx).Before(p.graceUntil)
}

// changeWaitForFailed marks the plans that ask no further wave while too many devices are failed and have been told to
// try again. Those of an earlier release go on to the next wave then.
const changeWaitForFailed = "wait-for-failed"

// waitsForFailed reports whether the next wave waits for devices that have failed and were told to try again.
func (p *resumePlan) waitsForFailed(ctx workflow.Context) bool {
	if !p.overLimit() {
		return false
	}
	return workflow.GetVersion(ctx, changeWaitForFailed, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// readTally counts the devices. A restore that was superseded or cancelled is a refusal. One that has completed is
// none: it may have completed because the plan's devices were resumed, and the plan goes on to its own end.
func (p *resumePlan) readTally(ctx workflow.Context) error {
	var tally activities.PlanTallyResult
	in := activities.PlanTallyInput{PlanID: p.in.PlanID, AwayAfter: p.rollout.AwayAfter}
	if err := runBulk(ctx, "count what the devices report", acts.PlanTally, in, &tally); err != nil {
		return err
	}
	p.progress.PlanTally = tally.PlanTally
	if !tally.Current && !tally.RestoreCompleted {
		return runbook.Refuse(runbook.CodeSuperseded, "restore %s no longer runs", p.begun.RestoreID)
	}
	return nil
}

// awaitCommand waits for a human's command. From time to time it reads whether the restore still runs.
func (p *resumePlan) awaitCommand(ctx workflow.Context) error {
	p.setState(ctx, runbook.PlanHeld,
		fmt.Sprintf("%d devices have failed, and %d may: a human decides.", p.progress.Failures(),
			int64(p.in.MaxFailures)+p.tolerated))
	wait := p.newWait(ctx)
	wait.last = lastPlanPoll / 2
	for {
		pause := wait.next(lastHeldPoll, workflow.GetInfo(ctx).GetCurrentHistoryLength())
		said, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
			Timeout: pause, TimerOptions: workflow.TimerOptions{Summary: "look whether the restore still runs"},
		}, func() bool { return p.pending != "" })
		if err != nil {
			return err
		}
		if said {
			return p.runCommand(ctx)
		}
		if err := p.readTally(ctx); err != nil {
			return err
		}
	}
}

// runCommand runs the pending command of a plan that was held.
func (p *resumePlan) runCommand(ctx workflow.Context) error {
	command := p.pending
	if command == runbook.UpdateAbort {
		return temporal.NewCanceledError()
	}
	var err error
	if command == runbook.UpdateContinue {
		p.tolerated = p.progress.Failures() - int64(p.in.MaxFailures)
	} else {
		p.graceUntil = workflow.Now(ctx).Add(retryGrace)
		for wave := range p.progress.Wave {
			if _, err = p.ask(ctx, wave); err != nil {
				break
			}
		}
	}
	p.setState(ctx, runbook.PlanRunning, fmt.Sprintf("Told to %s by %s.", command, p.pendingInput.By))
	p.pending = "" // whoever said it hears now where the plan stands
	return err
}

// finish writes how the plan has ended, whatever ended it.
func (p *resumePlan) finish(ctx workflow.Context, err error) (runbook.PlanProgress, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	refusal := runbook.AsRefusal(err)
	end := activities.MovePlanInput{PlanID: p.in.PlanID, State: runbook.PlanCompleted, AwayAfter: p.rollout.AwayAfter}
	switch {
	case refusal != nil:
		end.State, end.Reason = runbook.PlanSuperseded, refusal.Message
	case temporal.IsCanceledError(err):
		end.State, end.By, end.Reason = runbook.PlanAborted, p.pendingInput.By, p.pendingInput.Reason
	case err != nil:
		return runbook.PlanProgress{}, err
	}
	if err := p.readTally(ctx); err != nil && runbook.AsRefusal(err) == nil {
		return runbook.PlanProgress{}, err
	}
	var moved activities.MovePlanResult
	if err := runBulk(ctx, "write how the plan has ended", acts.MovePlan, end, &moved); err != nil {
		return runbook.PlanProgress{}, asFailure(err)
	}
	if moved.Tally != nil { // a device may have answered while the plan was being ended
		p.progress.PlanTally = *moved.Tally
	}
	p.progress.State, p.progress.Why = end.State, endOfPlan(end, p.progress.NotAsked)
	p.showDetails(ctx)
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return runbook.PlanProgress{}, err
	}
	p.refuseSignals(ctx)
	p.log.Info("Plan has ended", "state", end.State)
	return p.progress, nil
}

func endOfPlan(end activities.MovePlanInput, notAsked int64) string {
	switch {
	case end.State == runbook.PlanAborted && end.By == "":
		return "Cancelled in Temporal."
	case end.State == runbook.PlanAborted && end.Reason != "":
		return fmt.Sprintf("Aborted by %s: %s", end.By, end.Reason)
	case end.State == runbook.PlanAborted:
		return fmt.Sprintf("Aborted by %s.", end.By)
	case end.State == runbook.PlanSuperseded:
		return end.Reason
	case notAsked > 0:
		return fmt.Sprintf("%d devices were not asked: they said that the plan was held.", notAsked)
	}
	return "Every device was asked."
}

// setState sets the plan's state, and writes it to the database where it has changed.
func (p *resumePlan) setState(ctx workflow.Context, state runbook.PlanState, why string) {
	if p.progress.State != state && p.progress.State != runbook.PlanPlanned {
		// Who lists the plans sees it; nothing depends on it.
		if err := runBulk(ctx, "write where the plan stands", acts.MovePlan,
			activities.MovePlanInput{PlanID: p.in.PlanID, State: state}, nil); err != nil {
			p.log.Warn("Where the plan stands was not written", "error", err)
		}
	}
	p.progress.State, p.progress.Why = state, why
	p.showDetails(ctx)
}

func (p *resumePlan) showDetails(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, planDetails(p.progress))
}

// planDetails is what the web UI shows: first what a human can do, then the counts.
func planDetails(s runbook.PlanProgress) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s.** %s\n\n", s.State, cell(s.Why))
	switch {
	case s.State == runbook.PlanHeld:
		for _, verb := range []string{"--continue", "--retry-failed", "--abort"} {
			fmt.Fprintf(&b, "```\nstarter resume %s %s --reason \"…\"\n```\n", verb, s.PlanID)
		}
	case !s.State.Ended():
		fmt.Fprintf(&b, "```\nstarter resume --abort %s --reason \"…\"\n```\n", s.PlanID)
	}
	fmt.Fprintf(&b, "\nWhich device: `starter plan show %s`\n", s.PlanID)
	fmt.Fprintf(&b, "\nDecided by %s. Reason: %s\n", cell(orNone(s.By)), cell(orNone(s.Reason)))
	writeRefusedSignal(&b, s.RefusedSignal)
	fmt.Fprintf(&b, "\n| | |\n|---|---|\n| Wave | %d of %d |\n| Devices | %d |\n| Applied | %d |\n| Not reported yet | "+
		"%d |\n| Failed | %d |\n| Away | %d |\n"+
		"| Refused | %d |\n| No answer | %d |\n| Not asked | %d |\n",
		s.Wave, s.Waves, s.Total, s.Applied, s.Pending, s.Failed, s.Away, s.Refused, s.Unknown, s.NotAsked)
	return b.String()
}
