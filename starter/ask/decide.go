package ask

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"rollcall/runbook"
)

// decideTimeout is how long a command waits until a worker has recorded who decides.
const decideTimeout = 20 * time.Second

// Person is on whose word a command acts.
type Person struct {
	// As is who they say that they are, with --as, and By the account that the command runs under. One of them is set.
	As, By string
	Reason string
	// Known reports whether the connection to Temporal carries what a server can tell its caller by: an API key, a
	// client certificate, or a header. Without one there is no one for the server to record.
	Known bool
}

// name is who they are where the server does not say.
func (p Person) name() string {
	if p.As != "" {
		return p.As
	}
	return p.By
}

// Decided is a decision as its messages refer to it.
type Decided struct {
	By, Reason string
	// ids are the ids of the recorded decision's parts, by target; nil where none was recorded.
	ids map[string]string
}

// Origin is what the message to a target says about where it comes from.
func (d Decided) Origin(target string) runbook.Origin {
	return runbook.Origin{Decision: d.ids[target], Via: runbook.ViaCLI}
}

// ID is the id of the recorded decision that is about a target; empty where none was recorded.
func (d Decided) ID(target string) string { return d.ids[target] }

// Decide records a decision before it is sent, where the server may know its caller: in says what it is about. The
// person is then who the server says, and a --as that names another is a *runbook.Refusal with CodeNotYou. Where the
// server cannot know its caller nothing is recorded, and the person is who the command says.
func Decide(ctx context.Context, c client.Client, queue string, p Person, in runbook.DecisionInput) (Decided, error) {
	d := Decided{By: p.name(), Reason: p.Reason}
	if !p.Known || len(in.Targets) == 0 {
		return d, nil
	}
	d.ids = map[string]string{}
	in.As, in.By, in.Reason = p.As, p.By, p.Reason
	targets := in.Targets
	for len(targets) > 0 {
		in.ID, in.Targets = uuid.NewString(), targets[:min(len(targets), runbook.MaxDecisionTargets)]
		targets = targets[len(in.Targets):]
		record, err := decide(ctx, c, queue, in)
		if err != nil {
			return d, err
		}
		d.By = record.By
		for _, t := range in.Targets {
			d.ids[t.Name] = record.ID
		}
	}
	return d, nil
}

func decide(
	ctx context.Context, c client.Client, queue string, in runbook.DecisionInput,
) (record runbook.DecisionRecord, err error) {
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: runbook.DecisionWorkflowID(in.ID), TaskQueue: queue,
		// A decision that no worker records while its person waits is none.
		WorkflowExecutionTimeout:                 decideTimeout,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            fmt.Sprintf("Who decides: %s of %d", in.Act, len(in.Targets)),
	}, runbook.DecisionWorkflowName, in)
	if err == nil {
		err = run.Get(ctx, &record)
	}
	if err == nil {
		return record, nil
	}
	if refusal := answerOf(err); refusal != nil {
		return record, refusal
	}
	return record, fmt.Errorf("record who decides: %w; nothing was asked (is a worker running?)", err)
}
