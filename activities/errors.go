package activities

import (
	"go.temporal.io/sdk/temporal"

	"rollcall/runbook"
)

// failure turns an inventory error into what Temporal should do about it, here and nowhere else: a *runbook.Refusal is an
// answer and is never retried, with its code as the error's type; anything else (a lost connection, a deadlock) is worth
// another try under the activity's policy. It must be returned as it is: an ApplicationError that is wrapped again is retried.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if r := runbook.AsRefusal(err); r != nil {
		return temporal.NewNonRetryableApplicationError(r.Message, string(r.Code), nil)
	}
	return err
}
