package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"rollcall/inventory"
)

// marksEvery is how often the watch looks at least whether the devices that wait are marked in Flight Control's
// key-value store. Its loss, or flightctl#2878, leaves a device without a mark, and it waits for ever then.
const marksEvery = 15 * time.Second

// markAwaited marks the devices that wait and are not marked, page by page, and calls done with each page's devices of
// an organisation and those of them that were not marked.
func (a *Activities) markAwaited(
	ctx context.Context, restoreID string, done func(orgID string, names, missing []string) error,
) error {
	for seq := int64(0); ; {
		page, err := a.Inventory.Awaited(ctx, restoreID, seq)
		if err != nil {
			return err
		}
		var errs []error
		for _, part := range byOrg(page) {
			missing, err := a.Flightctl.MissingAwaiting(ctx, part.orgID, part.names)
			if err == nil && len(missing) > 0 {
				err = a.Flightctl.MarkAwaiting(ctx, part.orgID, missing)
			}
			if err == nil {
				err = done(part.orgID, part.names, missing)
			}
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if len(page) < inventory.AwaitedPage {
			return nil
		}
		seq = page[len(page)-1].Seq + 1
	}
}

type orgNames struct {
	orgID string
	names []string
}

// byOrg groups devices by organisation, in their order.
func byOrg(devices []inventory.Awaited) []orgNames {
	var parts []orgNames
	at := map[string]int{}
	for _, d := range devices {
		i, known := at[d.OrgID]
		if !known {
			i = len(parts)
			at[d.OrgID], parts = i, append(parts, orgNames{orgID: d.OrgID})
		}
		parts[i].names = append(parts[i].names, d.Name)
	}
	return parts
}

// maintainMarks keeps the devices that wait marked for as long as the watch runs.
func (w *watch) maintainMarks(ctx context.Context, a *Activities, every time.Duration) {
	w.repeat(ctx, "keys of waiting devices", min(marksEvery, 3*every), func() error { return w.checkMarks(ctx, a) })
}

// checkMarks marks those that are not marked. The polls of all are woken once, and later those of devices that had lost
// their mark: a poll that is held does not notice a new one.
func (w *watch) checkMarks(ctx context.Context, a *Activities) error {
	lost, woken := 0, w.woken.Load()
	err := a.markAwaited(ctx, w.restoreID, func(orgID string, names, missing []string) error {
		if woken {
			lost += len(missing)
			names = missing
		}
		return a.Flightctl.Wake(ctx, orgID, names)
	})
	if lost > 0 {
		activity.GetLogger(ctx).Warn("Devices that wait had lost their key in Flight Control's store; it was put back",
			"restore", w.restoreID, "devices", lost)
	}
	if err == nil {
		w.woken.Store(true)
	}
	return err
}
