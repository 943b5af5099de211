package faults

import (
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"rollcall/runbook"
)

// requestRow is what the database says of an enrollment request and of its device. An empty State is no request.
type requestRow struct {
	State runbook.EnrollmentState
	By    string `db:"by"`
	// Decisions is how many approvals and denials the audit has, and Devices how many devices there are of that name.
	Decisions int `db:"decisions"`
	Devices   int `db:"devices"`
	// Device is the state of the device, and OnRoll how many places it has on the roll.
	Device runbook.State `db:"device"`
	OnRoll int           `db:"on_roll"`
}

// request is where a request stands. offRoll is set where its device was made while no restore ran.
type request struct {
	state   runbook.EnrollmentState
	by      string
	offRoll bool
}

// row is what the database says then.
func (r request) row(awaits bool) requestRow {
	seen := requestRow{State: r.state, By: r.by}
	switch r.state {
	case runbook.EnrollmentDenied:
		seen.Decisions = 1
	case runbook.EnrollmentApproved:
		seen.Decisions, seen.Devices, seen.Device = 1, 1, runbook.StateNormal
		if awaits {
			seen.Device = runbook.StateAwaitingReconnect
		}
		if awaits && !r.offRoll {
			seen.OnRoll = 1
		}
	}
	return seen
}

// stepRequest is what the domain says of enrollment requests. As step, it returns where a call can lead to; none where
// it cannot have been answered so.
func stepRequest(r request, c Call) []request {
	switch c.Kind {
	case Look:
		return onlyIf(r, r.row(c.Awaits) == c.Found)
	case See:
		return onlyIf(r, r.state == c.Found.State)
	case Post:
		return post(r, c)
	}
	counts, after := r.state == runbook.EnrollmentPending, []request{r}
	if counts && c.Kind == Deny {
		after = []request{{state: runbook.EnrollmentDenied, by: c.By}}
	} else if counts {
		approved := request{state: runbook.EnrollmentApproved, by: c.By}
		after = []request{approved}
		if approved.offRoll = true; c.Early && c.Awaits {
			after = append(after, approved)
		}
	}
	switch {
	case c.Answer == Accepted && !counts, c.Answer == Refused && counts && !c.Early:
		return nil
	case c.Answer == Refused, !counts:
		return []request{r}
	case c.Answer == Unknown, c.Answer == Stored && c.Early:
		after = append(after, r)
	}
	return after
}

func onlyIf(r request, allowed bool) []request {
	if allowed {
		return []request{r}
	}
	return nil
}

// post makes a request where there is none. It is accepted where it has made one, and refused where there is one.
func post(r request, c Call) []request {
	exists := r.state != ""
	switch {
	case c.Answer == Accepted && exists, c.Answer == Refused && !exists:
		return nil
	case exists:
		return []request{r}
	case c.Answer == Accepted:
		return []request{{state: runbook.EnrollmentPending}}
	}
	return []request{{state: runbook.EnrollmentPending}, r}
}

// searchRequest looks for an order of the calls about a request. A call without an answer may take effect until end.
func searchRequest(calls []Call, end time.Time, limit time.Duration) porcupine.CheckResult {
	type standing struct{ now, saved request }
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{standing{}} },
		Step: func(state, input, _ any) (after []any) {
			s, c := state.(standing), input.(Call)
			switch c.Kind {
			case Save:
				return []any{standing{s.now, s.now}}
			case PutBack:
				return []any{standing{s.saved, s.saved}}
			}
			for _, to := range stepRequest(s.now, c) {
				after = append(after, standing{to, s.saved})
			}
			return after
		},
		Equal: func(a, b any) bool { return a == b },
	}
	if limit <= 0 {
		return porcupine.Unknown
	}
	var operations []porcupine.Operation
	calls = afterLosses(calls)
	slices.SortStableFunc(calls, func(a, b Call) int { return a.Start.Compare(b.Start) })
	for _, c := range calls {
		if c.open() {
			c.End = end
		}
		operations = append(operations, porcupine.Operation{
			ClientId: c.Client, Input: c, Call: c.Start.UnixNano(), Return: c.End.UnixNano(),
		})
	}
	return porcupine.CheckOperationsTimeout(model.ToModel(), operations, limit)
}
