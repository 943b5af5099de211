package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"rollcall/inventory"
	"rollcall/runbook"
)

// resumesTogether is how many devices one call of Flight Control resumes.
const resumesTogether = 500

// carryOutDecisions has Flight Control carry out humans' decisions for as long as the watch runs. It blocks no device:
// a report, a withdrawal or a newer restore is seen before the next attempt.
func (w *watch) carryOutDecisions(ctx context.Context, a *Activities, every time.Duration) error {
	told := map[inventory.DecidedDevice]int{}
	for look := 0; ; look++ {
		decided, err := a.Inventory.Decisions(ctx, w.restoreID)
		if err == nil {
			err = w.takeSteps(ctx, a, decided, told, look)
		}
		if err == nil {
			err = w.renderReleased(ctx, a, told, look)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// takeSteps does what comes next for each decision. A device whose workflow has to follow is signalled again after
// fullPollEvery polls. What fails for one device is tried again in the next round; all that fails is an error.
func (w *watch) takeSteps(
	ctx context.Context, a *Activities, decided []inventory.DecidedDevice, told map[inventory.DecidedDevice]int, look int,
) error {
	ask, tried := map[string][]string{}, attempts{of: "decisions"}
	for _, d := range decided {
		var err error
		switch d.Next {
		case runbook.StepAsk:
			ask[d.OrgID] = append(ask[d.OrgID], d.Name)
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
	var errs []error
	for orgID, names := range ask {
		errs = append(errs, w.ask(ctx, a, orgID, names))
	}
	return errors.Join(append(errs, tried.end(w))...)
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

// renderReleased has Flight Control render the devices that it has released and never rendered: each is paused and
// resumed, and its workflow follows when it is rendered.
func (w *watch) renderReleased(
	ctx context.Context, a *Activities, told map[inventory.DecidedDevice]int, look int,
) error {
	released, err := a.Inventory.Releases(ctx, w.restoreID)
	if err != nil {
		return err
	}
	ask, tried := map[string][]string{}, attempts{of: "releases"}
	for _, d := range released {
		var err error
		switch d.Next {
		case runbook.StepRepair:
			activity.GetLogger(ctx).Warn("Flight Control has released a device and never rendered it; it is resumed",
				"restore", w.restoreID, "device", d.Name)
			repair := inventory.RepairInput{RestoreID: w.restoreID, OrgID: d.OrgID, Name: d.Name}
			err = a.Inventory.PauseReleased(ctx, repair, releasedID)
			if err == nil {
				ask[d.OrgID] = append(ask[d.OrgID], d.Name)
			}
		case runbook.StepAsk:
			ask[d.OrgID] = append(ask[d.OrgID], d.Name)
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
	for orgID, names := range ask {
		for part := range slices.Chunk(names, resumesTogether) {
			_, err := a.Flightctl.Resume(ctx, orgID, part, releasedID)
			tried.add(ctx, w, part[0], err)
		}
	}
	return tried.end(w)
}

// releasedID is the request id of resumes that only have a device rendered.
var releasedID = inventory.ResumeID("released")

// ask asks Flight Control to resume devices, many in one call. What came of it is read from their rows: an answer may
// be lost, and a count says nothing of a single device.
func (w *watch) ask(ctx context.Context, a *Activities, orgID string, names []string) error {
	var errs []error
	for part := range slices.Chunk(names, resumesTogether) {
		errs = append(errs, w.askPart(ctx, a, orgID, part))
	}
	return errors.Join(errs...)
}

func (w *watch) askPart(ctx context.Context, a *Activities, orgID string, names []string) error {
	id := inventory.ResumeID(uuid.NewString())
	asked, err := a.Inventory.Asking(ctx, w.restoreID, orgID, names, id)
	if err != nil || len(asked) == 0 {
		return err
	}
	n, err := a.Flightctl.Resume(ctx, orgID, asked, id)
	if err != nil {
		return err
	}
	if n < len(asked) {
		activity.GetLogger(ctx).Info("Flight Control has resumed fewer devices than asked",
			"restore", w.restoreID, "asked", len(asked), "resumed", n)
	}
	return nil
}
