package runbook

import "time"

// RestoreStatus is the tally of a restore: what `starter status -o json` prints, and the result of a RestoreWorkflow.
// The counts always add up to Total, the number of devices that the restore put on its roll.
type RestoreStatus struct {
	RestoreID string       `json:"restoreId"`
	State     RestoreState `json:"state"`
	// Mode is who answers its agents.
	Mode       Mode            `json:"mode,omitempty"`
	StartedAt  time.Time       `json:"startedAt"`
	FinishedAt *time.Time      `json:"finishedAt"`
	Total      int64           `json:"total"`
	Counts     map[State]int64 `json:"counts"`
	// OrgID is the organisation that the restore is limited to; empty is all of them.
	OrgID string `json:"orgId,omitempty"`
	// OpenedBy is who started the restore. ClosedBy and Reason are who ended it and why, where a person did.
	OpenedBy string `json:"openedBy,omitempty"`
	ClosedBy string `json:"closedBy,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// SupersededBy is the newer restore that took over.
	SupersededBy string `json:"supersededBy,omitempty"`
	// Lost counts what was acknowledged before the database was put back to an earlier moment, and was found again in the
	// workflows alone. The audit names each.
	Lost int64 `json:"lost,omitempty"`
	// HeldBack says which reports were not told to the roll call, as their devices have reported too often; nil where
	// none was.
	HeldBack *HeldBack `json:"heldBack,omitempty"`
}

// HeldBack counts the reports of a roll call that were not told to it. The newest one of each device still is.
type HeldBack struct {
	Reports int64 `json:"reports"`
	Devices int64 `json:"devices"`
	// Most is the device with the most of them, of the organisation OrgID.
	Most  string `json:"most"`
	OrgID string `json:"orgId"`
}

// manyHeldBack is from how many reports of one restore on a human should look for the reason.
const manyHeldBack = 100

// Many reports whether a human should look for the reason.
func (h *HeldBack) Many() bool { return h != nil && h.Reports >= manyHeldBack }

// NewCounts is a tally with every state at zero, so that none is missing where it is printed.
func NewCounts() map[State]int64 {
	counts := make(map[State]int64, len(States))
	for _, s := range States {
		counts[s] = 0
	}
	return counts
}

// Waiting is the number of devices that hold the restore open.
func (r RestoreStatus) Waiting() int64 {
	var n int64
	for s, c := range r.Counts {
		if s.Open() {
			n += c
		}
	}
	return n
}

// AddsUp reports whether every device on the roll is accounted for.
func (r RestoreStatus) AddsUp() bool {
	var n int64
	for _, c := range r.Counts {
		n += c
	}
	return n == r.Total
}
