package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
)

// queryTimeout bounds how long describe waits for a device's workflow to tell its story; the audit in the database tells
// nearly the same.
const queryTimeout = 3 * time.Second

type describeOptions struct {
	*globals
	output *format
}

func newDescribeCommand(g *globals) *cobra.Command {
	o := &describeOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "describe device NAME",
		Short: "Review one device: its state, both versions, what a resume would apply, and its story",
		Long: `Shows what you need to decide about a device: where it stands and since when, the restored and the reported version, who owns
it and whether its labels still say so, the spec that would be applied, every message it got and what came of it, and the
commands to run next.`,
		Example: `  starter describe device web-7
  starter describe device/web-7 -o yaml`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(deviceKind),
		RunE:              run(o.run),
	}
	o.output = bindFormat(cmd, outputJSON, outputYAML)
	return cmd
}

func (o *describeOptions) run(ctx context.Context, args []string) error {
	name, err := parseDevice(args)
	if err != nil {
		return err
	}
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.orgID(ctx, store)
	if err != nil {
		return err
	}
	r, err := o.review(ctx, store, orgID, name)
	if err != nil {
		return err
	}
	return o.output.print(o.io.Stdout, r, func(w io.Writer) error { return r.text(w, o.io.Now()) })
}

// review collects everything. A device that is gone from the inventory can still be reviewed while its workflow waits.
func (o *describeOptions) review(ctx context.Context, store *inventory.Store, orgID, name string) (*review, error) {
	r := &review{Name: name, OrgID: orgID, WorkflowID: runbook.DeviceWorkflowID(orgID, name)}
	found, err := r.readDevice(ctx, store)
	if err != nil {
		return nil, err
	}
	status, err := o.ask(ctx, r.WorkflowID)
	switch {
	case err == nil:
		r.takeStory(status, found)
	case !found:
		return nil, fmt.Errorf("device %q: not found in organisation %s", name, runbook.OrgName(orgID))
	default:
		if err := r.readAudit(ctx, store); err != nil {
			return nil, err
		}
		r.WorkflowNote = whyNoStory(err)
	}
	r.Commands, r.WebUI = r.commands(), o.webLink(r.WorkflowID)
	return r, nil
}

// ask lets the device's workflow tell its story.
func (o *describeOptions) ask(ctx context.Context, workflowID string) (status runbook.DeviceStatus, err error) {
	c, err := o.dial(ctx)
	if err != nil {
		return status, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return status, query(ctx, c, workflowID, runbook.QueryState, &status)
}

func query(ctx context.Context, c client.Client, workflowID, name string, out any) error {
	return queryRun(ctx, c, workflowID, "", name, out)
}

// expired tells whether a call failed because ctx's time was over. The server gives up a little before us, and the words
// for it depend on who did.
func expired(ctx context.Context, err error) bool {
	var deadline *serviceerror.DeadlineExceeded
	var canceled *serviceerror.Canceled
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &deadline) || errors.As(err, &canceled)
}

// whyNoStory says for people why the story is the database's.
func whyNoStory(err error) string {
	switch {
	case isNotFound(err):
		return "there is none"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer; is a worker running?"
	}
	return err.Error()
}
