package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"rollcall/inventory"
	"rollcall/runbook"
)

// carryOutDecisions has Flight Control carry out humans' decisions for as long as the watch runs. It blocks no device:
// a report, a withdrawal or a newer restore is seen before the next attempt.
func (w *watch) carryOutDecisions(ctx context.Context, a *Activities, every time.Duration) {
	told, look := map[inventory.DecidedDevice]int{}, 0
	asks := newAsking(w, a, every)
	w.repeat(ctx, "decisions of humans", every, func() error {
		at := time.Now()
		decided, err := a.Inventory.Decisions(ctx, w.restoreID)
		if err != nil {
			return err
		}
		due := map[string]*resumes{}
		err = errors.Join(w.takeSteps(ctx, a, decided, told, look, due), w.renderReleased(ctx, a, told, look, due))
		asks.start(ctx, due, at)
		look++
		return err
	})
}

// takeSteps does what comes next for each decision, and adds to due what Flight Control is to be asked for. A device
// whose workflow has to follow is signalled again after fullPollEvery polls. What fails for one device is tried again
// in the next round; all that fails is an error.
func (w *watch) takeSteps(
	ctx context.Context, a *Activities, decided []inventory.DecidedDevice, told map[inventory.DecidedDevice]int, look int,
	due map[string]*resumes,
) error {
	tried := attempts{of: "decisions"}
	for _, d := range decided {
		var err error
		switch d.Next {
		case runbook.StepAsk:
			of := resumesOf(due, d.OrgID)
			of.decided = append(of.decided, d.Name)
			continue
		case runbook.StepRepair:
			activity.GetLogger(ctx).Warn("Flight Control has resumed a device and not rendered it; it is resumed again",
				"restore", w.restoreID, "device", d.Name)
			err = a.Inventory.Repair(ctx, inventory.RepairInput{RestoreID: w.restoreID, OrgID: d.OrgID, Name: d.Name})
		case runbook.StepDone, runbook.StepTheirs, runbook.StepVoid, runbook.StepBelow:
			if at, ok := told[d]; ok && look-at < fullPollEvery {
				continue
			}
			err = w.sendLook(ctx, d, told, look)
		default:
			continue
		}
		tried.add(ctx, w, d.Name, err)
	}
	return tried.end(w)
}

// sendLook has a device's workflow look where Flight Control has brought it.
func (w *watch) sendLook(
	ctx context.Context, d inventory.DecidedDevice, told map[inventory.DecidedDevice]int, look int,
) error {
	_, err := w.send(ctx, inventory.PendingSignal{OrgID: d.OrgID, Name: d.Name, Signal: runbook.SignalLook})
	if err == nil {
		told[d] = look
	}
	return err
}

// renderReleased has Flight Control render the devices that it has released and not rendered: each is paused and
// resumed, and its workflow follows when it is rendered. One that was changed just after its release is rendered
// without that, and has until the next look for it.
func (w *watch) renderReleased(
	ctx context.Context, a *Activities, told map[inventory.DecidedDevice]int, look int, due map[string]*resumes,
) error {
	released, err := a.Inventory.Releases(ctx, w.restoreID)
	if err != nil {
		return err
	}
	tried := attempts{of: "releases"}
	for _, d := range released {
		var err error
		switch d.Next {
		case runbook.StepRepair:
			if _, seen := told[d]; !seen {
				told[d] = look
				continue
			}
			activity.GetLogger(ctx).Warn("Flight Control has released a device and not rendered it; it is resumed",
				"restore", w.restoreID, "device", d.Name)
			repair := inventory.RepairInput{RestoreID: w.restoreID, OrgID: d.OrgID, Name: d.Name}
			err = a.Inventory.PauseReleased(ctx, repair, releasedID)
			if err == nil {
				of := resumesOf(due, d.OrgID)
				of.released = append(of.released, d.Name)
			}
		case runbook.StepAsk:
			of := resumesOf(due, d.OrgID)
			of.released = append(of.released, d.Name)
			continue
		case runbook.StepDone:
			if at, ok := told[d]; ok && look-at < fullPollEvery {
				continue
			}
			err = w.sendLook(ctx, d, told, look)
		default:
			continue
		}
		tried.add(ctx, w, d.Name, err)
	}
	return tried.end(w)
}
