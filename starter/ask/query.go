package ask

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// QueryTimeout bounds how long describe waits for a device's workflow to tell its story; the audit in the database
// tells nearly the same.
const QueryTimeout = 3 * time.Second

// Query asks the newest run of a workflow.
func Query(ctx context.Context, c client.Client, workflowID, name string, out any) error {
	value, err := c.QueryWorkflow(ctx, workflowID, "", name)
	if err == nil {
		err = value.Get(out)
	}
	if err != nil && expired(ctx, err) {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return fmt.Errorf("ask %s for its %s: %w", workflowID, name, err)
	}
	return nil
}

// expired reports whether a call failed because ctx's time was over. The server gives up a little before us, and the
// words for it depend on who did.
func expired(ctx context.Context, err error) bool {
	var deadline *serviceerror.DeadlineExceeded
	var canceled *serviceerror.Canceled
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &deadline) ||
		errors.As(err, &canceled)
}
