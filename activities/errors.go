package activities

import (
	"go.temporal.io/sdk/temporal"

	"rollcall/inventory"
	"rollcall/runbook"
)

// failure turns an inventory error into what Temporal should do about it, here and nowhere else. A *runbook.Refusal is an
// answer and is never retried, with its code as the error's type. So are values that the database will never take: trying
// again would hold up the device for ever. Anything else (a lost connection, a deadlock) is worth another try under the
// activity's policy. It must be returned as it is: an ApplicationError that is wrapped again is retried.
func failure(err error) error {
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
