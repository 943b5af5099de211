package ask

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

// answerInterval is how often a device that a newer restore takes over is looked for.
const answerInterval = 100 * time.Millisecond

// Teller puts one message of a person, a report or a withdrawal, to the workflows of many devices.
type Teller struct {
	Client client.Client
	Store  *inventory.Store
	// Update is the name of the update, and Request what the device of a name is sent with it.
	Update  string
	Request func(name string) any
	// RequestID is the id of the decision: asked again under it, a workflow gives its first answer.
	RequestID string
	// Decided is the decision that is put to them.
	Decided Decided
	Timeout time.Duration
	// StartUntil is how long devices whose workflow has not been started yet are asked again.
	StartUntil time.Time
	// Again are the flags of the command that say what the message says.
	Again []string
	// Journal keeps who was asked and who has answered; nil keeps nothing.
	Journal  *Journal
	attempts attempts
}

// Ask sends the message to one device's workflow and returns its answer, or in the same form what became of the
// message.
func (t *Teller) Ask(ctx context.Context, p inventory.DevicePosition) runbook.DeviceAnswer {
	if refusal := t.attempts.refusal(ctx, "devices"); refusal != nil {
		return notTold(refusal)
	}
	t.Journal.Asking(p.Name, "")
	answer := t.tell(ctx, p)
	t.attempts.count(t.Journal, p.Name, answer.Code)
	return answer
}

func notTold(r *runbook.Refusal) runbook.DeviceAnswer {
	return runbook.DeviceAnswer{Code: r.Code, Message: r.Message}
}

// tell asks until the workflow that waits for the device has answered. A workflow whose restore is over refuses. Where
// a newer restore has the device by then, its workflow is asked.
func (t *Teller) tell(ctx context.Context, p inventory.DevicePosition) runbook.DeviceAnswer {
	asking, cancel := askContext(ctx, t.Timeout)
	defer cancel()
	for {
		// A workflow gives the same answer to every update of an id, whatever its name.
		answer, err := updateDevice[runbook.DeviceAnswer](asking, t.Client, p, t.Update, t.Update+"/"+t.RequestID,
			t.Request(p.Name))
		if err == nil && t.isForNewer(asking, p, answer) {
			continue
		}
		if IsNotFound(err) && time.Now().Before(t.StartUntil) && t.Store.StartsSoon(asking, p.OrgID, p.Name) {
			continue
		}
		if err != nil {
			return notTold(explainDevice(ctx, t.Client, t.Store, t.Timeout, p, err, t.again(p)))
		}
		return answer
	}
}

// again is the command that sends the same message once more.
func (t *Teller) again(p inventory.DevicePosition) string {
	args := []string{t.Update, "device", p.Name, "--request-id", t.RequestID, "--as", t.Decided.By}
	if t.Decided.Reason != "" {
		args = append(args, "--reason", t.Decided.Reason)
	}
	return printer.Command(p.OrgID, append(args, t.Again...)...)
}

// isForNewer reports whether a message was refused only because the restore that got it is over, and a newer one waits
// for the device. It waits for one that is about to.
func (t *Teller) isForNewer(ctx context.Context, p inventory.DevicePosition, a runbook.DeviceAnswer) bool {
	if a.Accepted || a.Code != runbook.CodeSuperseded && a.Code != runbook.CodeNotWaiting {
		return false
	}
	for {
		position, err := PositionOf(ctx, t.Store, p.OrgID, p.Name)
		if err != nil || position == nil || !position.State.Open() || position.RestoreID == a.RestoreID {
			return false
		}
		if position.RestoreID == "" && !t.anyRuns(ctx) {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(answerInterval):
		}
		if position.RestoreID != "" {
			return true
		}
	}
}

// anyRuns reports whether a restore runs, which may be about to put the device on its roll.
func (t *Teller) anyRuns(ctx context.Context) bool {
	restores, err := t.Store.Restores(ctx, 100)
	if err != nil {
		return false
	}
	for _, r := range restores {
		if r.State == runbook.RestoreRunning {
			return true
		}
	}
	return false
}

// Describe is the command that shows a device.
func Describe(orgID, name string) string { return printer.Command(orgID, "describe", "device", name) }
