package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

type cancelOptions struct {
	*globals
	operator
	timeout time.Duration
}

func newCancelCommand(g *globals) *cobra.Command {
	o := &cancelOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "cancel RESTORE --reason REASON",
		Short: "End a roll call before every device is accounted for",
		Long: `Ends a roll call before every device is accounted for. Its waits end; devices that still wait or are paused
stay as they are, and nothing is rendered for them until the roll call is taken up again with
"starter restore --id RESTORE", or a new restore
supersedes it.`,
		Example: `  starter cancel after-outage --reason "wrong backup"`,
		Args:    cobra.ExactArgs(1),
	}
	bindOutcomeTimeout(cmd, &o.timeout)
	o.operator.bind(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if strings.TrimSpace(o.reason) == "" {
			return usagef("say why: --reason \"wrong backup\"")
		}
		if err := o.operator.complete(o.io, cmd); err != nil {
			return err
		}
		return o.run(ctx, args[0])
	})
	return cmd
}

func (o *cancelOptions) run(ctx context.Context, id string) error {
	if err := runbook.CheckRestoreID(id); err != nil {
		return usagef("%w", err)
	}
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.scope(ctx, store)
	if err != nil {
		return err
	}
	status, err := readStatus(ctx, store, id, "")
	switch refusal := runbook.AsRefusal(err); {
	case refusal != nil && refusal.Code == runbook.CodeNotFound:
		// A workflow may run that no worker has taken up yet, or that the database has lost. It knows the organisation.
	case err != nil:
		return err
	case orgID != "" && status.OrgID != orgID:
		return notOfOrg(status, orgID)
	case status.State != runbook.RestoreRunning:
		return runbook.Refuse(runbook.CodeRestoreEnded, "restore %s has ended already (%s)%s", id, status.State,
			endedBy(status))
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if status.RestoreID == "" {
		if status.OrgID, err = ask.StartedFor(ctx, c, id); err != nil {
			return err
		}
		if orgID != "" && status.OrgID != orgID {
			return notOfOrg(runbook.RestoreStatus{RestoreID: id, OrgID: status.OrgID}, orgID)
		}
	}
	noWorker := ask.Reach(ctx, c, o.queue())
	if noWorker != nil && !ask.IsNoWorker(noWorker) {
		return noWorker
	}
	refusals := &cancelRefusals{client: c, workflowID: runbook.RestoreWorkflowID(id)}
	if noWorker == nil {
		refusals.begin(ctx)
	}
	err = o.send(ctx, c, id, status)
	if ask.IsNotFound(err) && status.RestoreID == "" && ask.HasEnded(ctx, c, id) {
		return o.printUnknown(id) // it ended by itself, or was cancelled before
	}
	if err != nil {
		return err
	}
	return o.outcome(ctx, store, refusals, id, noWorker)
}

// notOfOrg refuses to end what other organisations wait for, too.
func notOfOrg(status runbook.RestoreStatus, orgID string) error {
	if status.OrgID == "" {
		return runbook.Refuse(runbook.CodeInvalidRequest,
			"restore %s is of all organisations, not of %s alone: leave --org out to cancel it for all", status.RestoreID,
			runbook.OrgName(orgID))
	}
	return runbook.Refuse(runbook.CodeNotFound, "restore %s is of organisation %s, not of %s", status.RestoreID,
		runbook.OrgName(status.OrgID), runbook.OrgName(orgID))
}

func endedBy(status runbook.RestoreStatus) string {
	if status.ClosedBy == "" {
		return ""
	}
	return ", by " + status.ClosedBy
}

// send says who cancels and why, on which the workflow ends its waits. A cancellation of the workflow beside it could
// be read first, and the restore then be closed without a name; and once the signal is read, there is nothing left to
// cancel.
func (o *cancelOptions) send(ctx context.Context, c client.Client, id string, status runbook.RestoreStatus) error {
	ctx, cancel := context.WithTimeout(ctx, ask.SendTimeout)
	defer cancel()
	workflowID := runbook.RestoreWorkflowID(id)
	message := runbook.CancelSignal{By: o.as, Reason: o.reason}
	if err := message.Check(); err != nil {
		return err // the workflow would only log it
	}
	decided, err := o.operator.decide(ctx, o.globals, c, runbook.DecisionInput{
		Act: runbook.ActCancel, OrgID: status.OrgID, Targets: []runbook.DecisionTarget{{Name: id}},
	})
	if err != nil {
		return err
	}
	message.By, message.Origin = decided.By, decided.Origin(id)
	err = c.SignalWorkflow(ctx, workflowID, "", runbook.SignalCancel, message)
	if ask.IsNotFound(err) && status.RestoreID != "" {
		return fmt.Errorf("restore %s is open, but no workflow runs it: take it up again with `%s`, then cancel it", id,
			ask.TakeUp(id))
	}
	if err != nil {
		return fmt.Errorf("cancel restore %s: %w", id, err)
	}
	return nil
}

// cancelRefusals hears from a restore's workflow that it has refused a cancellation.
type cancelRefusals struct {
	client     client.Client
	workflowID string
	// before is how many signals it had refused before the cancellation was sent; known is false where it has not said.
	before int
	known  bool
}

func (r *cancelRefusals) begin(ctx context.Context) {
	refused, err := r.ask(ctx)
	r.before, r.known = refused.Times, err == nil
}

// since is why the workflow has refused the cancellation; empty where it has not, or has not said.
func (r *cancelRefusals) since(ctx context.Context) string {
	if !r.known {
		return ""
	}
	refused, err := r.ask(ctx)
	if err != nil || refused.Name != runbook.SignalCancel || refused.Times <= r.before {
		return ""
	}
	return refused.Why
}

func (r *cancelRefusals) ask(ctx context.Context) (refused runbook.RefusedSignal, err error) {
	ctx, cancel := context.WithTimeout(ctx, ask.QueryTimeout)
	defer cancel()
	var progress runbook.RestoreProgress
	err = ask.Query(ctx, r.client, r.workflowID, runbook.QueryTally, &progress)
	if err != nil || progress.RefusedSignal == nil {
		return refused, err
	}
	return *progress.RefusedSignal, nil
}

// outcome waits until the restore has ended, where a worker runs that could end it.
func (o *cancelOptions) outcome(
	ctx context.Context, store *inventory.Store, refusals *cancelRefusals, id string, noWorker error,
) error {
	if noWorker != nil {
		return fmt.Errorf("outcome unknown: restore %s was told, and ends when a worker reads it: %w", id, noWorker)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for {
		status, err := store.RestoreStatus(ctx, id)
		if err == nil && status.State != runbook.RestoreRunning {
			return o.print(status)
		}
		if refusal := runbook.AsRefusal(err); refusal != nil && refusal.Code == runbook.CodeNotFound &&
			ask.HasEnded(ctx, refusals.client, id) {
			return o.printUnknown(id)
		}
		if why := refusals.since(ctx); why != "" {
			return fmt.Errorf("restore %s is not cancelled: %s", id, why)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("outcome unknown: restore %s was told, and ends when a worker reads it (is one running?); see "+
				"`%s`", id, printer.Command("", "status", id))
		case <-time.After(ask.WatchInterval):
		}
	}
}

// printUnknown is for a restore whose workflow has ended, and that the database does not know.
func (o *cancelOptions) printUnknown(id string) error {
	fmt.Fprintf(o.io.Stdout, "the workflows of restore %s have ended\n", id)
	fmt.Fprintf(o.io.Stderr, "warning: the database does not know restore %s: it was put back to before that began, and "+
		"does not hold its devices back any more; `%s` calls the roll again\n", id, printer.Command("", "restore"))
	return nil
}

func (o *cancelOptions) print(status runbook.RestoreStatus) error {
	if status.State != runbook.RestoreCancelled {
		return fmt.Errorf("restore %s was %s before it could be cancelled", status.RestoreID, printer.Lower(status.State))
	}
	fmt.Fprintf(o.io.Stdout, "restore %s is cancelled\n", status.RestoreID)
	if n := status.Waiting(); n > 0 {
		fmt.Fprintf(o.io.Stderr, "warning: %s still wait or are paused, and nothing is rendered for them; `%s` takes the "+
			"roll call up again\n",
			printer.Count(n, "device"), ask.TakeUp(status.RestoreID))
	}
	return nil
}
