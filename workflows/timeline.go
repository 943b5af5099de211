package workflows

import (
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// timelineLimit is how many entries a device's timeline holds; it travels through continue-as-new and queries, so it must
// stay small. The audit in the database has them all.
const timelineLimit = 100

// note puts a message on the timeline: accepted, or refused where refusal is set. The same message again, straight after,
// is counted instead of listed.
func (d *device) note(ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal) error {
	entry = d.complete(ctx, entry, refusal)
	if d.isRepetition(entry) {
		last := &d.status.Timeline[len(d.status.Timeline)-1]
		last.Times = max(last.Times, 1) + 1
	} else {
		d.status.Timeline = append(d.status.Timeline, entry)
	}
	if over := len(d.status.Timeline) - timelineLimit; over > 0 {
		d.status.Timeline = d.status.Timeline[over:]
		d.status.Dropped += over
	}
	d.showDetails(ctx)
	if refusal != nil {
		d.log.Warn("Message refused", "message", entry.Message, "code", refusal.Code, "by", entry.By)
	}
	return nil
}

// refuse notes a refused message and writes it to the audit. A repetition of the one before is only counted, so that a
// device that reports the same nonsense at every poll does not fill the database.
func (d *device) refuse(ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal) error {
	return d.refuseAs(ctx, entry, refusal, d.requestID(ctx))
}

func (d *device) refuseAs(ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal, requestID string) error {
	known := d.isRepetition(d.complete(ctx, entry, refusal))
	if err := d.note(ctx, entry, refusal); err != nil || known {
		return err
	}
	entry = d.complete(ctx, entry, refusal)
	err := carryOut(ctx, "record refused "+entry.Message, acts.RecordRefusal, activities.RefusalInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		Message: entry.Message, By: entry.By, Reason: entry.Reason, Version: entry.Version,
		State: d.status.State, Refusal: *refusal, RequestID: requestID,
	}, nil)
	if unkept := runbook.AsRefusal(err); unkept != nil {
		d.log.Error("Refusal is on the timeline only; the audit cannot hold it", "message", entry.Message, "error", unkept)
		return nil
	}
	return err
}

func (d *device) complete(ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal) runbook.TimelineEntry {
	entry.At = workflow.Now(ctx)
	entry.By, entry.Reason, entry.Version = runbook.Storable(entry.By), runbook.Storable(entry.Reason), runbook.Storable(entry.Version)
	entry.Accepted = refusal == nil
	if entry.From == "" {
		entry.From, entry.To = d.status.State, d.status.State
	}
	if refusal != nil {
		entry.Code, entry.Why = refusal.Code, refusal.Message
	}
	return entry
}

func (d *device) isRepetition(entry runbook.TimelineEntry) bool {
	if len(d.status.Timeline) == 0 {
		return false
	}
	last := d.status.Timeline[len(d.status.Timeline)-1]
	last.At, last.Times = entry.At, entry.Times
	return last == entry
}

// describe answers the state query.
func (d *device) describe() (runbook.DeviceStatus, error) { return d.status, nil }
