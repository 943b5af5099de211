package workflows

import (
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"rollcall/activities"
	"rollcall/runbook"
)

// timelineLimit is how many entries a device's timeline holds; it travels through continue-as-new and queries, so it
// must stay small. The audit in the database has them all.
const timelineLimit = 100

// note puts a message on the timeline: accepted, or refused where refusal is set. The same message again, straight
// after, is counted instead of listed.
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

// sent is a message for the timeline, with what it says about where it comes from.
type sent struct {
	entry  runbook.TimelineEntry
	origin runbook.Origin
}

// viaOf is what a timeline shows of a message's origin. Through what other messages came, only the audit says: entries
// of earlier releases are compared with new ones.
func viaOf(o runbook.Origin) runbook.Via {
	if o == (runbook.Origin{}) {
		return ""
	}
	return runbook.ViaCLI
}

// refuse notes a refused message and writes it to the audit. A repetition of the one before is only counted, so that a
// device that reports the same nonsense at every poll does not fill the database.
func (d *device) refuse(ctx workflow.Context, s sent, refusal *runbook.Refusal, requestID string) error {
	entry := s.entry
	known := d.isRepetition(d.complete(ctx, entry, refusal))
	if err := d.note(ctx, entry, refusal); err != nil || known {
		return err
	}
	entry = d.complete(ctx, entry, refusal)
	err := runTransition(ctx, "record refused "+entry.Message, acts.RecordRefusal, activities.RefusalInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		Message: entry.Message, By: entry.By, Reason: entry.Reason, Version: entry.Version,
		State: d.status.State, Refusal: *refusal, RequestID: requestID, Origin: s.origin,
	}, nil)
	return onlyIfFailed(d.log, entry, err)
}

// onlyIfFailed passes on why a refusal could not be written to the audit, unless the audit will never take it: then the
// timeline alone has the refusal, and the workflow goes on.
func onlyIfFailed(logger log.Logger, entry runbook.TimelineEntry, err error) error {
	unkept := runbook.AsRefusal(err)
	if unkept == nil {
		return err
	}
	logger.Error("Refusal is on the timeline only; the audit cannot hold it", "message", entry.Message, "error", unkept)
	return nil
}

// storable cuts an entry down to what can be kept in histories and in the database.
func storable(entry runbook.TimelineEntry) runbook.TimelineEntry {
	for _, text := range []*string{&entry.Message, &entry.Version, &entry.By, &entry.Reason} {
		*text = runbook.Storable(*text)
	}
	return entry
}

// refusedEntry makes an entry that of a refused message.
func refusedEntry(entry runbook.TimelineEntry, refusal *runbook.Refusal) runbook.TimelineEntry {
	refusal = refusal.Storable()
	entry.Code, entry.Why = refusal.Code, refusal.Message
	return entry
}

func (d *device) complete(
	ctx workflow.Context, entry runbook.TimelineEntry, refusal *runbook.Refusal,
) runbook.TimelineEntry {
	entry.At = workflow.Now(ctx)
	entry = storable(entry)
	entry.Accepted = refusal == nil
	if entry.From == "" {
		entry.From, entry.To = d.status.State, d.status.State
	}
	if refusal != nil {
		entry = refusedEntry(entry, refusal)
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

// changeReadStory marks the device workflows that begin with the audit's story where their input asks for it.
const changeReadStory = "read-story"

// storyLimit is how many entries of the audit a workflow begins with. Each is in the history as often as the workflow
// continues as new.
const storyLimit = 20

// readStory begins the timeline with what the audit tells of the device in this restore, after an earlier workflow of
// the device was cancelled or terminated. A story that cannot be read is no reason to keep a device waiting.
func (d *device) readStory(ctx workflow.Context) error {
	if workflow.GetVersion(ctx, changeReadStory, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := d.mutex.Lock(ctx); err != nil { // a decision that came meanwhile is noted after the story
		return err
	}
	defer d.mutex.Unlock()
	var story activities.StoryResult
	in := activities.StoryInput{
		RestoreID: d.status.RestoreID, OrgID: d.status.OrgID, Name: d.status.Name,
		Limit: storyLimit,
	}
	if err := workflow.ExecuteLocalActivity(withFewRetries(ctx, "read the story so far"), acts.Story, in).Get(ctx,
		&story); err != nil {
		d.log.Warn("Story could not be read; the audit has it", "error", err)
		return nil
	}
	d.status.Timeline = append(story.Timeline, d.status.Timeline...)
	d.showDetails(ctx)
	return nil
}
