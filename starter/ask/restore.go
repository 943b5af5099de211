package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// restoreInterval is how often the workflow of a restore that is over is looked for, until it has ended.
const restoreInterval = 100 * time.Millisecond

// Restore is a restore that is to be started, or taken up again.
type Restore struct {
	ID        string
	Supersede bool
	// All puts devices on the roll beside Flight Control that are back already.
	All bool
	// By is the account of who starts it, and As who they say that they are. OrgRef is the organisation as they named it.
	By, As, OrgRef string
	// Queue is the task queue of the workers.
	Queue                    string
	BatchSize, BatchesAtOnce int
	// WatchInterval is how often the restore's inventory watch looks; 0 is never.
	WatchInterval time.Duration
	// Say tells the operator what is waited for; nil tells nothing.
	Say func(string)
}

// Precheck says at once, and without a worker, what the workflow would refuse. It may miss something; the workflow
// decides.
func (s Restore) Precheck(ctx context.Context, store *inventory.Store, orgID string) error {
	restores, err := store.Restores(ctx, 100)
	if err != nil {
		return fmt.Errorf("read the restores there are: %w", err)
	}
	for _, r := range restores {
		if r.RestoreID != s.ID {
			continue
		}
		if r.State == runbook.RestoreCompleted || r.State == runbook.RestoreSuperseded {
			return runbook.Refuse(runbook.CodeRestoreEnded,
				"restore %s has ended (%s) and cannot be taken up again: start one with another --id", s.ID, r.State)
		}
		if err := s.isOf(r, orgID); err != nil {
			return err
		}
	}
	for _, r := range restores {
		// Whether one of a single organisation is in the way of another's is not seen here.
		if r.RestoreID != s.ID && r.State == runbook.RestoreRunning && orgID == "" && !s.Supersede {
			return runbook.Refuse(runbook.CodeRestoreRunning,
				"restore %s still runs (%d of %d devices wait): watch it with `%s`, or take over from it with --supersede",
				r.RestoreID, r.Waiting(), r.Total, printer.Command("", "status", r.RestoreID, "--watch"))
		}
	}
	return nil
}

// isOf refuses a restore that there is where it is not of the organisation that is meant; an empty one is all of them.
// It would be taken up, or waited for, as another than it is.
func (s Restore) isOf(status runbook.RestoreStatus, orgID string) error {
	if strings.EqualFold(status.OrgID, orgID) {
		return nil
	}
	return runbook.Refuse(runbook.CodeScopeMismatch, "restore %s is of %s, not of %s: take it up as that, or use another "+
		"--id", s.ID, scopeName(status.OrgID), scopeName(orgID))
}

func scopeName(orgID string) string {
	if orgID == "" {
		return "all organisations (no --org)"
	}
	return "organisation " + runbook.OrgName(orgID)
}

// endTimeout is how long the workflow of a restore that is over may take to end, before the restore is taken up again.
const endTimeout = time.Minute

// errRuns is that a workflow of the restore runs already.
var errRuns = errors.New("runs already")

// IsRunning reports whether an error is that a workflow of the restore runs already.
func IsRunning(err error) bool { return errors.Is(err, errRuns) }

// StartOrTakeUp starts the restore's workflow. Where the restore was cancelled a moment ago, its workflow may not
// quite have ended yet, and is waited for.
func (s Restore) StartOrTakeUp(
	ctx context.Context, store *inventory.Store, c client.Client, orgID string,
) (client.WorkflowRun, error) {
	deadline := time.Now().Add(endTimeout)
	for said := false; ; said = true {
		started, err := s.Start(ctx, c, orgID)
		if !errors.Is(err, errRuns) || time.Now().After(deadline) {
			return started, err
		}
		status, stateErr := store.RestoreStatus(ctx, s.ID)
		if refusal := runbook.AsRefusal(stateErr); refusal != nil && refusal.Code == runbook.CodeNotFound {
			return started, fmt.Errorf("%w; the database does not know the restore: no worker has opened it yet, or the "+
				"database was put back to before it began. In that case end it with `%s`", err,
				printer.Command("", "cancel", s.ID, "--reason", "REASON"))
		}
		if stateErr == nil {
			if refusal := s.isOf(status, orgID); refusal != nil {
				return nil, refusal
			}
		}
		if stateErr != nil || status.State != runbook.RestoreCancelled {
			return started, err
		}
		if !said && s.Say != nil {
			s.Say(fmt.Sprintf("restore %s was cancelled, and its workflow is still ending: waiting for it", s.ID))
		}
		select {
		case <-ctx.Done():
			return started, err
		case <-time.After(restoreInterval):
		}
	}
}

// HasEnded reports whether the workflow of a restore was there and has ended.
func HasEnded(ctx context.Context, c client.Client, restoreID string) bool {
	run, err := c.DescribeWorkflowExecution(ctx, runbook.RestoreWorkflowID(restoreID), "")
	return err == nil && run.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING
}

// StartedFor is the organisation that a restore's workflow was started for, as Temporal has it; empty is all of them.
// That there is no workflow is a *Refusal (CodeNotFound).
func StartedFor(ctx context.Context, c client.Client, restoreID string) (orgID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	first, err := c.GetWorkflowHistory(ctx, runbook.RestoreWorkflowID(restoreID), "", false,
		enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
	if IsNotFound(err) {
		return "", runbook.Refuse(runbook.CodeNotFound, "there is no restore %s", restoreID)
	}
	if err != nil {
		return "", fmt.Errorf("read the start of restore %s: %w", restoreID, err)
	}
	var in runbook.RestoreInput
	input := first.GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := converter.GetDefaultDataConverter().FromPayloads(input, &in); err != nil {
		return "", fmt.Errorf("read the input of restore %s: %w", restoreID, err)
	}
	return in.OrgID, nil
}

// Start starts the restore's workflow.
func (s Restore) Start(ctx context.Context, c client.Client, orgID string) (client.WorkflowRun, error) {
	ctx, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	options := s.startOptions(orgID)
	in := runbook.RestoreInput{
		RestoreID: s.ID, OrgID: orgID, Supersede: s.Supersede, By: s.By, As: s.As, All: s.All,
		WatchInterval: s.WatchInterval.String(),
		BatchSize:     s.BatchSize, BatchesAtOnce: s.BatchesAtOnce,
	}
	started, err := c.ExecuteWorkflow(ctx, options, runbook.RestoreWorkflowName, in)
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) && strings.Contains(invalid.Message, runbook.AttributeRestoreID) {
		// The first worker registers the search attribute and sets it; until one has run, the server does not know it.
		options.TypedSearchAttributes = temporal.SearchAttributes{}
		started, err = c.ExecuteWorkflow(ctx, options, runbook.RestoreWorkflowName, in)
	}
	var running *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &running) {
		return nil, fmt.Errorf("restore %s %w: watch it with `%s`", s.ID, errRuns, printer.Command("", "status", s.ID))
	}
	if err != nil {
		return nil, fmt.Errorf("start restore %s: %w", s.ID, err)
	}
	return started, nil
}

// startOptions set no execution timeout: the workflow waits for people.
func (s Restore) startOptions(orgID string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID:        runbook.RestoreWorkflowID(s.ID),
		TaskQueue: s.Queue,
		// A restore that was cancelled or terminated is taken up again under its own id.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		// Without it a second start of the same id would silently be handed the first one's run.
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            s.summary(orgID),
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(runbook.AttributeRestoreID).ValueSet(s.ID),
		),
	}
}

func (s Restore) summary(orgID string) string {
	if orgID == "" {
		return fmt.Sprintf("Roll call %s of all organisations", s.ID)
	}
	return fmt.Sprintf("Roll call %s of organisation %s", s.ID, s.OrgRef)
}
