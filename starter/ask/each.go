// Package ask puts the questions and decisions of an operator to the workflows that wait for them, and finds out what
// became of each.
package ask

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"rollcall/runbook"
	"rollcall/starter/printer"
)

// AsksAtOnce is how many devices are asked at the same time: enough that a thousand are done in a moment, and few
// enough that the workers answer each well within its time-out.
const AsksAtOnce = 32

// interruptGrace is how long an answer that is under way is waited for after an interruption, so that fewer are
// unknown.
const interruptGrace = 2 * time.Second

// askContext is a context for one question, which ends after the timeout, or interruptGrace after ctx.
func askContext(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-asking.Done():
		case <-time.After(interruptGrace):
			cancel()
		}
	})
	return asking, func() { stop(); cancel() }
}

// unknown is the answer of a workflow that was asked and has not answered; again is the command that asks once more.
func unknown(
	ctx context.Context, c client.Client, workflowID string, timeout time.Duration, again string,
) *runbook.Refusal {
	why, look := "no answer within "+timeout.String(), whyNoAnswer
	if ctx.Err() != nil {
		why = "interrupted before the answer came"
	} else if failure := pendingFailure(ctx, c, workflowID); failure != "" {
		look = "its activity is tried again, and failed last with: " + failure
	}
	return runbook.Refuse(runbook.CodeOutcomeUnknown,
		"outcome unknown: %s; the decision may yet be carried out. Ask again with `%s`; %s", why, again, look)
}

// Each asks many at the same time, while a meter shows how many have answered. The answers are in the order of targets:
// what goes wrong with one is its answer, and stops no other.
func Each[T, A any](ctx context.Context, streams printer.IO, targets []T, ask func(context.Context, T) A) []A {
	meter := printer.NewMeter(streams, len(targets))
	defer meter.Close()
	answers := make([]A, len(targets))
	var group errgroup.Group
	group.SetLimit(AsksAtOnce)
	for i, target := range targets {
		group.Go(func() error {
			answers[i] = ask(ctx, target)
			meter.Step()
			return nil
		})
	}
	_ = group.Wait() // no function of the group returns an error
	return answers
}
