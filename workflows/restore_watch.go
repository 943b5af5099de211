package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// changeWatch marks the restores that began with the inventory watch; those of the release before have none.
const changeWatch = "inventory-watch"

// watchInventory starts the inventory watch beside the devices' waits, and does not wait for it: one activity for the
// whole roll call, so that a restore's history holds the same few events of it after a minute and after a month. It
// ends with ctx, when the roll call does.
func (r *restore) watchInventory(ctx workflow.Context) error {
	if r.opened.Mode == runbook.ModeFlightctl && r.watchEvery == 0 {
		r.watchEvery = runbook.DefaultWatchInterval // nothing else sees what Flight Control decides
	}
	if r.watchEvery == 0 || r.progress.Total == 0 && !r.awaitsLate {
		return nil
	}
	if workflow.GetVersion(ctx, changeWatch, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	watch := workflow.ExecuteActivity(withWatchOptions(ctx, "watch the inventory every "+r.watchEvery.String()),
		acts.WatchInventory,
		activities.WatchInput{RestoreID: r.in.RestoreID, Every: r.watchEvery})
	workflow.Go(ctx, func(ctx workflow.Context) {
		if err := watch.Get(ctx, nil); err != nil && !temporal.IsCanceledError(err) {
			r.log.Error("Inventory watch has ended; devices that a live Flight Control answers are not seen any more", "error",
				err)
		}
	})
	return nil
}
