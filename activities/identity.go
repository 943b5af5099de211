package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"google.golang.org/grpc"

	"rollcall/inventory"
	"rollcall/inventory/decisions"
	"rollcall/runbook"
)

// Histories is what the activities need of Temporal's service to learn who has started a workflow.
type Histories interface {
	GetWorkflowExecutionHistory(
		ctx context.Context, in *workflowservice.GetWorkflowExecutionHistoryRequest, opts ...grpc.CallOption,
	) (*workflowservice.GetWorkflowExecutionHistoryResponse, error)
}

// caller returns the person that the Temporal server has recorded as who started the activity's workflow. It is empty
// where the server records no callers. A run that another workflow or a schedule has started, or that continues an
// earlier one, was not started by a person, and has no caller either.
func (a *Activities) caller(ctx context.Context) (string, error) {
	if a.Histories == nil || !activity.IsActivity(ctx) {
		return "", nil
	}
	info := activity.GetInfo(ctx)
	run := info.WorkflowExecution
	page, err := a.Histories.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: info.Namespace, MaximumPageSize: 1,
		Execution: &common.WorkflowExecution{WorkflowId: run.ID, RunId: run.RunID},
	})
	if err != nil {
		return "", fmt.Errorf("read who has started workflow %s: %w", run.ID, err)
	}
	events := page.GetHistory().GetEvents()
	if len(events) == 0 || events[0].GetWorkflowExecutionStartedEventAttributes() == nil {
		return "", errors.New("the workflow's history does not begin with its start")
	}
	return callerOf(events[0]), nil
}

func callerOf(e *history.HistoryEvent) string {
	started := e.GetWorkflowExecutionStartedEventAttributes()
	again := started.GetContinuedExecutionRunId() != "" || started.GetCronSchedule() != ""
	if again || started.GetParentWorkflowExecution() != nil {
		return ""
	}
	return e.GetPrincipal().GetName()
}

// RecordDecision records who decides, as the Temporal server knows the caller that has started the activity's
// workflow. Where it knows none, who the input names is recorded as asserted.
func (a *Activities) RecordDecision(ctx context.Context, in runbook.DecisionInput) (runbook.DecisionRecord, error) {
	if err := in.Check(); err != nil {
		return runbook.DecisionRecord{}, asActivityError(err)
	}
	by, identity, err := a.decider(ctx, in.As, in.By)
	if err == nil && by == "" {
		err = runbook.Refuse(runbook.CodeInvalidRequest, "it is not known who decides: give a name in \"as\"")
	}
	if err != nil {
		return runbook.DecisionRecord{}, asActivityError(err)
	}
	record, err := a.decisions().Record(ctx, in, by, identity)
	return record, asActivityError(err)
}

// decider returns who has started the activity's workflow; see runbook.Decider.
func (a *Activities) decider(ctx context.Context, as, by string) (string, runbook.Identity, error) {
	caller, err := a.caller(ctx)
	if err != nil {
		return "", "", err
	}
	return runbook.Decider(caller, as, by)
}

// identify returns how it is known who sent a message. Where it refers to a decision that does not allow it,
// forbidden says why, and the name in the message counts as asserted.
func (a *Activities) identify(
	ctx context.Context, o runbook.Origin, requestID, orgID string, c runbook.Claim,
) (who inventory.Who, forbidden *runbook.Refusal, err error) {
	who.Via = runbook.ViaOf(requestID, o)
	if c.By != "" && c.By != runbook.ActorAgent {
		who.Identity = runbook.Asserted
	}
	if o.Decision == "" {
		return who, nil, nil
	}
	identity, err := a.decisions().Check(ctx, o.Decision, orgID, c)
	if refusal := runbook.AsRefusal(err); refusal != nil || err != nil {
		return who, refusal, onlyFailure(err)
	}
	who.Identity, who.DecisionID = identity, o.Decision
	return who, nil, nil
}

// identifyRefused returns how it is known who sent a message that is refused in any case. A decision that it refers
// to need not allow it, but must be the sender's.
func (a *Activities) identifyRefused(ctx context.Context, in RefusalInput) (inventory.Who, error) {
	who, _, err := a.identify(ctx, runbook.Origin{Via: in.Via}, in.RequestID, in.OrgID, runbook.Claim{By: in.By})
	if err != nil || in.Decision == "" || in.Decision != runbook.Storable(in.Decision) {
		return who, err
	}
	who.Via = runbook.ViaCLI
	identity, err := a.decisions().Whose(ctx, in.Decision, in.OrgID, runbook.Act(in.Message), in.Name, in.By)
	if err == nil && identity != "" {
		who.Identity, who.DecisionID = identity, in.Decision
	}
	return who, err
}

// onlyFailure is err unless it is a refusal.
func onlyFailure(err error) error {
	if runbook.AsRefusal(err) != nil {
		return nil
	}
	return err
}

// ActInput is what a person did about a restore or a plan, or was refused.
type ActInput struct {
	Act runbook.Act `json:"act"`
	// OrgID is the organisation; empty is all of them.
	OrgID     string `json:"orgId,omitempty"`
	RestoreID string `json:"restoreId"`
	// PlanID is set where the act is about a plan.
	PlanID    string `json:"planId,omitempty"`
	By        string `json:"by,omitempty"`
	Reason    string `json:"reason,omitempty"`
	RequestID string `json:"requestId"`
	// Refusal is why it does not count in any case; nil where that is for the decision to say.
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
	runbook.Origin
}

// ActResult says why an act may not count; nil where it may.
type ActResult struct {
	Refusal *runbook.Refusal `json:"refusal,omitempty"`
}

// RecordAct checks the decision that an act refers to, and writes the act to the audit, accepted or refused.
func (a *Activities) RecordAct(ctx context.Context, in ActInput) (ActResult, error) {
	target := in.RestoreID
	if in.PlanID != "" {
		target = in.PlanID
	}
	org := in.OrgID
	if org == "" {
		org = runbook.DefaultOrgID
	}
	who, forbidden, err := a.identify(ctx, in.Origin, in.RequestID, org, runbook.Claim{
		Act: in.Act, Target: runbook.DecisionTarget{Name: target}, By: in.By, Reason: in.Reason,
	})
	if err != nil {
		return ActResult{}, asActivityError(err)
	}
	forbidden = cmp.Or(in.Refusal, forbidden)
	err = a.Inventory.RecordAct(ctx, inventory.ActInput{
		Act: in.Act, OrgID: org, RestoreID: in.RestoreID, PlanID: in.PlanID, By: in.By, Reason: in.Reason,
		RequestID: in.RequestID, Who: who, Refusal: forbidden,
	})
	return ActResult{Refusal: forbidden}, asActivityError(err)
}

func (a *Activities) decisions() decisions.Decisions {
	return decisions.Decisions{DB: a.Inventory.DB()}
}

// runOf is the run of the workflow that the activity belongs to; empty outside of one.
func runOf(ctx context.Context) string {
	if !activity.IsActivity(ctx) {
		return ""
	}
	return activity.GetInfo(ctx).WorkflowExecution.RunID
}
