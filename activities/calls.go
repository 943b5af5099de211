package activities

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/singleflight"

	"rollcall/runbook"
)

// calls are those calls of Flight Control that carry out a person's decision. An attempt of an activity has two
// seconds, and a call may take longer: it waits for its turn first, and then for an answer. Flight Control breaks off
// half-way what its caller breaks off, and an approval leaves a device without a certificate then. So a call outlives
// the attempt that began it, and the next attempt waits for the same call.
type calls struct{ group singleflight.Group }

// callKey names a call: what it does to what, and for which message.
type callKey struct{ verb, orgID, name, requestID string }

// do calls Flight Control unless this call is under way, and returns what came of it. Where ctx ends first
// the error says so, and the call goes on.
func (c *calls) do(ctx context.Context, key callKey, call func(context.Context) error) error {
	done := c.group.DoChan(fmt.Sprint(key), func() (any, error) { return nil, call(context.WithoutCancel(ctx)) })
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return fmt.Errorf("the call of Flight Control is under way, and has no answer yet: %w", ctx.Err())
	}
}

// refusedThere is the refusal of a decision that Flight Control does not carry out; nil where a repetition may have it
// carried out.
func refusedThere(err error) *runbook.Refusal {
	var answer interface{ Refused() bool }
	if !errors.As(err, &answer) || !answer.Refused() {
		return nil
	}
	return runbook.Refuse(runbook.CodeFailed, "%v", err)
}
