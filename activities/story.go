package activities

import (
	"context"

	"rollcall/inventory"
	"rollcall/runbook"
)

// StoryInput names a device of a restore, and how much of its story is wanted.
type StoryInput struct {
	RestoreID string `json:"restoreId"`
	OrgID     string `json:"orgId"`
	Name      string `json:"name"`
	// Limit is how many entries to read at most, the newest ones.
	Limit int `json:"limit"`
}

// StoryResult is what the audit tells of a device, oldest first.
type StoryResult struct {
	Timeline []runbook.TimelineEntry `json:"timeline"`
}

// Story reads what the audit tells of a device in a restore, as a workflow that had seen it all would have noted it.
func (a *Activities) Story(ctx context.Context, in StoryInput) (StoryResult, error) {
	rows, err := a.Inventory.Audit(ctx, inventory.AuditQuery{
		OrgID: in.OrgID, Names: []string{in.Name}, RestoreID: in.RestoreID, Limit: in.Limit,
	})
	if err != nil {
		return StoryResult{}, asActivityError(err)
	}
	result := StoryResult{Timeline: []runbook.TimelineEntry{}}
	for _, row := range rows {
		if row.Transition == runbook.T1 {
			continue // no message asked for it
		}
		entry := row.Entry()
		if entry.By == inventory.ActorService {
			entry.By = ""
		}
		result.Timeline = append(result.Timeline, entry)
	}
	return result, nil
}
