package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"rollcall/runbook"
)

// unrolled is a time for which the roll of an organisation was lost, though it had been made at first.
type unrolled struct {
	orgID       string
	first, lost time.Time
}

// noteRolled notes which rolls are made before the database is put back.
func (r *run) noteRolled(ctx context.Context) error {
	for _, o := range r.orgs {
		u := unrolled{orgID: o.id, lost: time.Now()}
		err := r.store.DB().GetContext(ctx, &u.first, `select rolled_at from rollcall.restores where id = $1`, o.restoreID)
		if err != nil {
			return fmt.Errorf("read when the roll was complete: %w", err)
		}
		r.mu.Lock()
		r.unrolled = append(r.unrolled, u)
		r.mu.Unlock()
	}
	return nil
}

// isUnrolled reports whether a call began while the organisation had no roll, or was under way when the roll was lost.
// rolled is when the roll of now was made.
func (r *run) isUnrolled(o organisation, c Call, rolled time.Time) bool {
	for _, u := range r.unrolled {
		if u.orgID == o.id && u.lost.Before(rolled) && c.Start.After(u.first) && c.End.Before(u.lost) {
			return false
		}
	}
	return c.Start.Before(rolled)
}

// orgAndName is a device or a request.
type orgAndName struct {
	OrgID string `db:"org_id"`
	Name  string `db:"name"`
}

// requestsThere reads which enrollment requests there are.
func (r *run) requestsThere(ctx context.Context) (there []orgAndName, err error) {
	if err := r.store.DB().SelectContext(ctx, &there, `select org_id, name from enrollment_requests`); err != nil {
		return nil, fmt.Errorf("read the enrollment requests: %w", err)
	}
	return there, nil
}

// noteSaved notes what the newest copy has: requests that were there before it was made, and devices that are paused
// now, or were already then. The copy was begun at since.
func (r *run) noteSaved(ctx context.Context, requests []orgAndName, since time.Time) error {
	var paused []orgAndName
	err := r.store.DB().SelectContext(ctx, &paused, `select org_id, name from rollcall.roll where state = $1`,
		runbook.StateConflictPaused)
	if err != nil {
		return fmt.Errorf("read who is paused: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.result.Calls {
		c := &r.result.Calls[i]
		at := orgAndName{c.OrgID, c.Device}
		switch {
		case c.Kind != Save || c.Start.Before(since):
		case c.Request && slices.Contains(requests, at):
			c.Found.State = runbook.EnrollmentPending // or decided
		case !c.Request && slices.Contains(paused, at):
			c.Seen.State = runbook.StateConflictPaused
		}
	}
	return nil
}

// namedLost is an entry of the audit that names what was lost.
type namedLost struct {
	OrgID   string `db:"org_id"`
	Name    string `db:"name"`
	Actor   string `db:"actor"`
	Signal  string `db:"signal"`
	Message string `db:"message"`
}

// names reports whether the entry is about what the call has done. Of a report and a withdrawal only the device is
// named, with where it stood.
func (l namedLost) names(c Call) bool {
	if l.OrgID != c.OrgID || l.Name != c.Device || c.Request != (l.Signal == "approve" || l.Signal == "deny") {
		return false
	}
	switch c.Kind {
	case Approve, Deny:
		return l.Actor == c.By && l.Signal == string(c.Kind)
	case Resume:
		return l.Actor == c.By
	case Withdraw:
		return strings.Contains(l.Message, string(runbook.OutcomeWithdrawn))
	}
	return true
}

// place is a device or a request in a record of calls.
type place struct {
	orgID, name string
	request     bool
}

// loss is what the database has lost of a device or a request: what came between from and to.
type loss struct {
	from, to time.Time
	// paused reports whether the device was paused in the copy.
	paused bool
}

// losses are the last ones, as calls say that are ordered by their starts.
func losses(calls []Call) map[place]loss {
	saved, lost := map[place]loss{}, map[place]loss{}
	for _, c := range calls {
		at := place{c.OrgID, c.Device, c.Request}
		since := saved[at]
		switch c.Kind {
		case Save:
			saved[at] = loss{from: c.End, paused: c.Seen.State == runbook.StateConflictPaused}
		case Forget:
			since.from = c.End
			saved[at] = since
		case PutBack:
			since.to = c.Start
			lost[at] = since
		}
	}
	return lost
}

// mustName reports whether the audit must name a call, where it was accepted and lost. A device that was paused in the
// copy may have lost which version it has reported since, and report it again.
func (l loss) mustName(c Call) bool {
	if c.Answer != Accepted || !c.Start.After(l.from) || !c.End.Before(l.to) {
		return false
	}
	switch c.Kind {
	case Resume, Withdraw, Approve, Deny:
		return true
	case Report:
		return !l.paused
	}
	return false
}

// unnamed returns the calls that were accepted, that the database lost when it was put back last, and that no entry
// names. What came before Temporal had lost its database no one can name.
func unnamed(calls []Call, entries []namedLost) (missing []Call) {
	sorted := slices.Clone(calls)
	slices.SortStableFunc(sorted, func(a, b Call) int { return a.Start.Compare(b.Start) })
	lost := losses(sorted)
	for _, c := range sorted {
		if !lost[place{c.OrgID, c.Device, c.Request}].mustName(c) {
			continue
		}
		if !slices.ContainsFunc(entries, func(l namedLost) bool { return l.names(c) }) {
			missing = append(missing, c)
		}
	}
	return missing
}

// checkNamed checks that what was accepted and lost is named in the audit, and counted by `starter status`. Where
// nothing was put back, nothing is lost.
func (r *run) checkNamed(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		var entries []namedLost
		err := r.store.DB().SelectContext(ctx, &entries,
			`select org_id, name, actor, signal, message from rollcall.transitions where code = $1`, runbook.CodeLost)
		if err != nil {
			return fmt.Errorf("read what was lost: %w", err)
		}
		missing := unnamed(r.result.Calls, entries)
		if len(missing) > 0 && limited.Err() == nil {
			wait(limited, time.Second)
			continue
		}
		for _, c := range missing {
			r.fail(fmt.Errorf("it was accepted, and lost, and the audit does not name it: %s\n%s", c, r.story(ctx, c)))
		}
		if r.options.Disasters {
			return r.checkCounted(ctx, len(entries))
		}
		for _, l := range entries {
			r.fail(fmt.Errorf("the database was not put back, and the audit says that it has lost: %+v", l))
		}
		return nil
	}
}

// minute prints a time of a run.
const minute = "04:05.000"

// story is what the audit and Temporal know of the device or the request of a call.
func (r *run) story(ctx context.Context, c Call) string {
	var b strings.Builder
	var rows []struct {
		At                                       time.Time
		Transition, Signal, Actor, Code, Request string
	}
	err := r.store.DB().SelectContext(ctx, &rows, `select at, transition, signal, actor, code,
		coalesce(request_id, '') as request from rollcall.transitions where org_id = $1 and name = $2 order by id`,
		c.OrgID, c.Device)
	for _, row := range rows {
		fmt.Fprintf(&b, "\t%s %s %s %s %s %s\n", row.At.Format(minute), row.Transition, row.Signal, row.Actor, row.Code,
			row.Request)
	}
	id := runbook.DeviceWorkflowID(c.OrgID, c.Device)
	if c.Request {
		id = runbook.EnrollmentWorkflowID(c.OrgID, c.Device)
	}
	page, listErr := r.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("WorkflowId = '%s'", id),
	})
	for _, e := range page.GetExecutions() {
		fmt.Fprintf(&b, "\t%s to %s %s run %s\n", e.GetStartTime().AsTime().Format(minute),
			e.GetCloseTime().AsTime().Format(minute), e.GetStatus(), e.GetExecution().GetRunId())
	}
	if err := errors.Join(err, listErr); err != nil {
		fmt.Fprintf(&b, "\t%v\n", err)
	}
	return b.String()
}

// checkCounted checks that `starter status` counts each entry that names what was lost.
func (r *run) checkCounted(ctx context.Context, entries int) error {
	var counted int64
	for _, o := range r.orgs {
		said, err := r.operate(ctx, "", "status", o.restoreID, "-o", "json")
		var status runbook.RestoreStatus
		if err == nil {
			err = json.Unmarshal(said, &status)
		}
		if err != nil {
			return fmt.Errorf("starter status %s: %w", o.restoreID, err)
		}
		counted += status.Lost
	}
	if counted != int64(entries) {
		r.fail(fmt.Errorf("the audit names %d losses, and the restores' status says %d", entries, counted))
	}
	if entries > 0 {
		r.say("%d losses are named", entries)
	}
	return nil
}
