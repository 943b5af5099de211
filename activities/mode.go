package activities

import (
	"context"
	"fmt"

	"rollcall/runbook"
)

// FlightControl is what a worker asks of a live Flight Control that runs beside it.
type FlightControl interface {
	// MarkAwaiting makes its API server compare versions at the next poll of these devices. Their annotations are
	// committed.
	MarkAwaiting(ctx context.Context, orgID string, names []string) error
	// MissingAwaiting returns the devices that are not marked.
	MissingAwaiting(ctx context.Context, orgID string, names []string) ([]string, error)
	// Resume resumes these devices and returns how many it has resumed; requestID is found again in its events.
	Resume(ctx context.Context, orgID string, names []string, requestID string) (int, error)
	// Approve approves an enrollment request; labels win over the request's own, and with replace are all that the
	// device gets.
	Approve(ctx context.Context, orgID, name string, labels map[string]string, replace bool) error
	// DeleteEnrollmentRequest deletes an enrollment request, whose device must not be there.
	DeleteEnrollmentRequest(ctx context.Context, orgID, name string) error
	// User is the name of our user there, which our approvals carry; empty where that cannot be told.
	User(ctx context.Context, orgID string) (string, error)
	// Decommission begins to decommission a device: target is Unenroll or FactoryReset.
	Decommission(ctx context.Context, orgID, name, target string) error
	// Wake ends the held polls of these devices, at the pace that it is configured for.
	Wake(ctx context.Context, orgID string, names []string) error
}

// mode is the mode of the restores that this worker opens and works for.
func (a *Activities) mode() runbook.Mode {
	if a.Flightctl == nil {
		return runbook.ModeStandalone
	}
	return runbook.ModeFlightctl
}

// checkMode fails where a restore's mode is not the worker's. The failure is retried, so that a worker of the other
// mode can run the activity. A restore that does not exist is for the activity to report.
func (a *Activities) checkMode(ctx context.Context, restoreID string) error {
	if known, ok := a.modes.Load(restoreID); ok {
		return a.compareMode(restoreID, known.(runbook.Mode))
	}
	mode, err := a.Inventory.RestoreMode(ctx, restoreID)
	if err != nil || mode == "" {
		return err
	}
	a.modes.Store(restoreID, mode)
	return a.compareMode(restoreID, mode)
}

func (a *Activities) compareMode(restoreID string, mode runbook.Mode) error {
	if ours := a.mode(); mode != ours {
		return fmt.Errorf("restore %s has the mode %s and this worker the mode %s: start a worker of mode %s on this task "+
			"queue and stop this one",
			restoreID, mode, ours, mode)
	}
	return nil
}
