package review

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"rollcall/inventory"
	"rollcall/runbook"
)

// storyLength is how many entries of the audit a story begins with, the newest ones.
const storyLength = 100

// Entry is a line of a story: a message or a transition, and the restore that it was for.
type Entry struct {
	runbook.TimelineEntry
	RestoreID string `json:"restoreId,omitempty"`
}

// readStory reads the story of a device or an enrollment request from the audit, over all restores.
func readStory(ctx context.Context, store *inventory.Store, orgID, name string) ([]Entry, error) {
	rows, err := store.Transitions(ctx, orgID, name, storyLength)
	if err != nil {
		return nil, fmt.Errorf("read the audit of %q: %w", name, err)
	}
	story := make([]Entry, len(rows))
	for i, row := range rows {
		story[i] = Entry{TimelineEntry: row.Entry(), RestoreID: row.RestoreID}
	}
	return story, nil
}

// ReadAudit takes the story from the audit.
func (r *Review) ReadAudit(ctx context.Context, store *inventory.Store) (err error) {
	r.Timeline, err = readStory(ctx, store, r.OrgID, r.Name)
	return err
}

// merge adds to the audit's story the workflow's entries that the audit does not have: messages that changed nothing,
// and messages that the workflow has not written yet. The entries are in the order of their times.
func merge(audit []Entry, status runbook.DeviceStatus) []Entry {
	story, known := slices.Clone(audit), make([]bool, len(audit))
	for _, told := range status.Timeline {
		at := -1
		for i, e := range audit {
			if !known[i] && e.RestoreID == status.RestoreID && same(e.TimelineEntry, told) {
				at = i
				break
			}
		}
		if at < 0 {
			story = append(story, Entry{TimelineEntry: told, RestoreID: status.RestoreID})
			continue
		}
		known[at], story[at].Times = true, told.Times
	}
	slices.SortStableFunc(story, func(a, b Entry) int { return a.At.Compare(b.At) })
	return story
}

// same reports whether an entry of the audit and an entry of a workflow are about the same message. Where the workflow
// names no one the audit names the service or the agent. Of a resume the audit has the reported version and the
// workflow the expected one.
func same(audit, told runbook.TimelineEntry) bool {
	by := audit.By
	if told.By == "" && (by == inventory.ActorService || by == runbook.ActorAgent) {
		by = ""
	}
	return audit.Message == told.Message && audit.Accepted == told.Accepted && audit.Code == told.Code && by == told.By &&
		(!audit.Accepted || audit.Transition == told.Transition) &&
		(told.Message != runbook.SignalReconnect || cmp.Or(audit.Version, "0") == cmp.Or(told.Version, "0"))
}
