package activities

import (
	"errors"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// asActivityError turns an inventory error into an error that Temporal retries or not. A *runbook.Refusal is an answer
// and is not retried; its code is the error's type. A value that the database never accepts is not retried either,
// because retries would block the device forever. Anything else (a lost connection, a deadlock) is retried under the
// activity's policy. Return the error as it is: an ApplicationError that is wrapped again is retried.
func asActivityError(err error) error {
	if err == nil {
		return nil
	}
	refusal := runbook.AsRefusal(err)
	if refusal == nil && inventory.RefusesValues(err) {
		refusal = runbook.Refuse(runbook.CodeFailed, "the database does not take this: %v", err)
	}
	if refusal != nil {
		return temporal.NewNonRetryableApplicationError(refusal.Message, string(refusal.Code), nil)
	}
	return err
}

// isNotFound reports whether Temporal answered that there is no such workflow, or none that runs.
func isNotFound(err error) bool {
	var missing *serviceerror.NotFound
	return errors.As(err, &missing)
}
