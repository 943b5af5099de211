package ask

import (
	"context"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
)

// attempts counts who has answered a command that asks many, and notes it in the journal. Its zero value has asked no
// one.
type attempts struct {
	// answered and unanswered count those asked, so that where all workers are away not every one is asked: each
	// question would wait for a worker and be carried out long after its human has left.
	answered, unanswered atomic.Int64
}

// refusal is why no more are asked: the command was interrupted, or none of those asked before, in the plural, has
// answered. It is nil otherwise.
func (a *attempts) refusal(ctx context.Context, asked string) *runbook.Refusal {
	switch {
	case ctx.Err() != nil:
		return runbook.Refuse(runbook.CodeNotAsked, "interrupted")
	case a.unanswered.Load() > 0 && a.answered.Load() == 0:
		return runbook.Refuse(runbook.CodeNotAsked, "none of the %s asked before has answered; %s", asked, whyNoAnswer)
	}
	return nil
}

// count counts an answer of this code. One whose outcome is unknown is none.
func (a *attempts) count(journal *Journal, name string, code runbook.Code) {
	if code == runbook.CodeOutcomeUnknown {
		a.unanswered.Add(1)
		return
	}
	a.answered.Add(1)
	journal.Answered(name)
}

// updateDevice puts an update to a device's workflow and returns its answer. Asked again under the same id, the
// workflow answers as it did the first time.
func updateDevice[A any](
	ctx context.Context, c client.Client, d inventory.DevicePosition, update, id string, request any,
) (answer A, err error) {
	handle, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(d.OrgID, d.Name), UpdateName: update, UpdateID: id,
		Args: []any{request}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &answer)
	}
	return answer, err
}

// explainDevice says what the error of an update means for the human who decided. Only an error that Temporal or the
// workflow gave as its answer is a "no"; after any other the decision may have been carried out, or may yet be. again
// is the command that asks once more.
func explainDevice(
	ctx context.Context, c client.Client, store *inventory.Store, timeout time.Duration, d inventory.DevicePosition,
	err error, again string,
) *runbook.Refusal {
	if refusal := answerOf(err); refusal != nil {
		return refusal
	}
	if IsNotFound(err) {
		return NoWorkflow(ctx, c, store, d.OrgID, d.Name)
	}
	return unknown(ctx, c, runbook.DeviceWorkflowID(d.OrgID, d.Name), timeout, again)
}
