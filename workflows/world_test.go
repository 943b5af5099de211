package workflows_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"rollcall/activities"
	"rollcall/inventory"
	"rollcall/runbook"
)

// org is the organisation of all tests.
const org = runbook.DefaultOrgID

// world is a database in memory for workflow logic: it moves devices by runbook's rules and no others. That the real
// one does the same is inventory's tests to say.
type world struct {
	mu       sync.Mutex
	restores map[string]runbook.RestoreState
	devices  map[string]*worldDevice
	order    []string
	refusals []activities.RefusalInput
	// results are the answers to reports, resumes and withdrawals, by request id.
	results map[string]activities.TransitionResult
	// outages is how many calls fail before one succeeds.
	outages int
	calls   map[string]int
	now     func() time.Time
	// told is what the audit tells of a device's earlier workflow.
	told []runbook.TimelineEntry
	// superseded is what opening a restore reports.
	superseded []string
	// supersededBy is the restore that has taken over; empty is what an activity of an earlier release says.
	supersededBy string
	refuseOpen   *runbook.Refusal
	chunk        int
	// refuseAudit makes the audit refuse what it is given, for good.
	refuseAudit bool
	// refuseWhatIsNotText makes it refuse, as PostgreSQL does, a text with a NUL or that is no UTF-8.
	refuseWhatIsNotText bool
	closedBy            string
	closedWhy           string
	// watches is how the inventory watch was started, and watchFails what it ends with.
	watches    []activities.WatchInput
	watchFails error
	// requests are the enrollment requests, with what is known of their versions; running is the restore that they join.
	requests map[string]*worldRequest
	running  string
	started  []string
	// forgetsAt is the question whether a decision stands after whose answer the database loses it; 0 is none.
	forgetsAt int
	// waitingEntryLimit is the longest time that an attempt at WaitingEntry was given.
	waitingEntryLimit time.Duration
}

type worldDevice struct {
	entry     activities.RollEntry
	gone      bool
	resumedBy string
	next      string
	reason    string
	since     time.Time // it stands there
	// batch and wave are who has claimed it; wave 0 is no one, as they count from 1 here.
	batch, wave int
	// moved is where another hand has put the device, which no one knows before they look.
	moved runbook.State
}

func newWorld() *world {
	return &world{
		restores: map[string]runbook.RestoreState{"r1": runbook.RestoreRunning},
		devices:  map[string]*worldDevice{}, results: map[string]activities.TransitionResult{}, calls: map[string]int{},
		now: time.Now, chunk: 2, requests: map[string]*worldRequest{}, running: "r1",
	}
}

// add puts a device on the roll that was restored at a version.
func (w *world) add(name, restored string) *worldDevice {
	d := &worldDevice{entry: activities.RollEntry{
		OrgID: org, Name: name, Fleet: "web", Seq: int64(len(w.order)), State: runbook.StateAwaitingReconnect,
		Restored: restored,
	}}
	w.devices[name] = d
	w.order = append(w.order, name)
	return d
}

func (w *world) register(env *testsuite.TestWorkflowEnvironment) {
	w.now = env.Now
	for name, fn := range map[string]any{
		"OpenRestore": w.openRestore, "PutOnRoll": w.putOnRoll, "AnnotateRequests": w.annotateRequests,
		"FinishRoll": w.finishRoll,
		"Tally":      w.tally, "CloseRestore": w.closeRestore, "OpenEntries": w.openEntries, "BeginWaves": w.beginWaves,
		"BatchEntries": w.batchEntries, "Claim": w.claim, "RestoreState": w.restoreState,
		"Reconnect": w.reconnect, "Resume": w.resume, "Withdraw": w.withdraw, "RecordRefusal": w.recordRefusal,
		"Look": w.look, "Story": w.story, "CancelLeftovers": w.cancelLeftovers, "WatchInventory": w.watchInventory,
		"Approve": w.approve, "Deny": w.deny, "WaitingEntry": w.waitingEntry, "StartEnrollments": w.startEnrollments,
		"FollowRequest": w.followRequest, "DecisionStands": w.decisionStands,
	} {
		env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// enter locks the world for one call, which fails while there is an outage.
func (w *world) enter(call string) (func(), error) {
	w.mu.Lock()
	w.calls[call]++
	if w.outages > 0 {
		w.outages--
		w.mu.Unlock()
		return nil, errors.New("connection refused")
	}
	return w.mu.Unlock, nil
}

func refused(r *runbook.Refusal) error {
	return temporal.NewNonRetryableApplicationError(r.Message, string(r.Code), nil)
}

func (w *world) result(d *worldDevice) activities.TransitionResult {
	return activities.TransitionResult{
		State: d.entry.State, Restored: d.entry.Restored, Reported: d.entry.Reported, Next: d.next, By: d.resumedBy,
		Reason: d.reason, At: d.since,
	}
}

// move puts a device into a state.
func (w *world) move(d *worldDevice, to runbook.State) { d.entry.State, d.since = to, w.now() }

// answered is the answer to a request that was answered before.
func (w *world) answered(first activities.TransitionResult, d *worldDevice) activities.TransitionResult {
	now := w.result(d)
	first.Now = &inventory.Standing{
		State: now.State, Restored: now.Restored, Reported: now.Reported, Next: now.Next, By: now.By, Reason: now.Reason,
		At: now.At,
	}
	return first
}

// fence refuses what a restore that is not the current one does, and what is about a device that is on no roll.
func (w *world) fence(restoreID string, d *worldDevice) *activities.TransitionResult {
	if d == nil {
		return &activities.TransitionResult{Refusal: runbook.Refuse(runbook.CodeNoRollCall, "it is on no roll")}
	}
	if w.restores[restoreID] == runbook.RestoreRunning {
		return nil
	}
	result := w.result(d)
	result.Refusal = runbook.Refuse(runbook.CodeSuperseded, "restore %s is not the current one", restoreID)
	return &result
}

func (w *world) reconnect(_ context.Context, in activities.ReconnectInput) (activities.TransitionResult, error) {
	leave, err := w.enter("Reconnect")
	if err != nil {
		return activities.TransitionResult{}, err
	}
	defer leave()
	d := w.devices[in.Name]
	if first, ok := w.results[in.RequestID]; ok {
		return w.answered(first, d), nil
	}
	if fenced := w.fence(in.RestoreID, d); fenced != nil {
		return *fenced, nil
	}
	if d.gone && d.entry.State.Open() {
		return w.leaveRoll(d, in.RequestID, d.resumedBy), nil
	}
	decision, err := runbook.DecideReconnect(d.entry.Restored, in.Reported)
	if err != nil || !d.entry.State.Open() {
		result := w.result(d)
		result.Refusal = runbook.AsRefusal(err)
		return result, nil
	}
	if d.entry.State == runbook.StateConflictPaused && d.entry.Reported == decision.Reported {
		return w.result(d), nil
	}
	transition := decision.Transition
	d.entry.Reported = decision.Reported
	if d.entry.State == runbook.StateConflictPaused {
		transition = runbook.Reported
	} else {
		w.move(d, decision.To)
	}
	result := w.result(d)
	result.Applied, result.Transition, result.Updated = true, transition, decision.Updated
	w.results[in.RequestID] = result
	return result, nil
}

func (w *world) leaveRoll(d *worldDevice, requestID, by string) activities.TransitionResult {
	w.move(d, runbook.StateWithdrawn)
	d.resumedBy = by // who ended it
	result := w.result(d)
	result.Applied, result.Transition = true, runbook.T5
	w.results[requestID] = result
	return result
}

func (w *world) resume(_ context.Context, in activities.ResumeInput) (activities.TransitionResult, error) {
	leave, err := w.enter("Resume")
	if err != nil {
		return activities.TransitionResult{}, err
	}
	defer leave()
	d := w.devices[in.Name]
	if first, ok := w.results[in.RequestID]; ok {
		return w.answered(first, d), nil
	}
	if fenced := w.fence(in.RestoreID, d); fenced != nil {
		return *fenced, nil
	}
	next, err := runbook.MayResume(runbook.Conflict{
		State: d.entry.State, Restored: d.entry.Restored, Reported: d.entry.Reported, ResumedBy: d.resumedBy,
	}, in.ExpectVersion)
	if err != nil {
		result := w.result(d)
		result.Refusal = runbook.AsRefusal(err)
		w.refusals = append(w.refusals, activities.RefusalInput{
			Message: runbook.SignalResume, By: in.By, Reason: in.Reason, Version: in.ExpectVersion, State: d.entry.State,
			Refusal: *result.Refusal, RequestID: in.RequestID,
		})
		return result, nil
	}
	w.move(d, runbook.StateNormal)
	d.resumedBy, d.reason, d.next = in.By, in.Reason, next.String()
	result := w.result(d)
	result.Applied, result.Transition = true, runbook.T4
	w.results[in.RequestID] = result
	return result, nil
}

func (w *world) withdraw(_ context.Context, in activities.WithdrawInput) (activities.TransitionResult, error) {
	leave, err := w.enter("Withdraw")
	if err != nil {
		return activities.TransitionResult{}, err
	}
	defer leave()
	d := w.devices[in.Name]
	if first, ok := w.results[in.RequestID]; ok {
		return w.answered(first, d), nil
	}
	if fenced := w.fence(in.RestoreID, d); fenced != nil {
		return *fenced, nil
	}
	if err := runbook.MayWithdraw(!d.gone, false, "", in.Force); err != nil {
		result := w.result(d)
		result.Refusal = runbook.AsRefusal(err)
		w.results[in.RequestID] = result
		return result, nil
	}
	return w.leaveRoll(d, in.RequestID, in.By), nil
}

func (w *world) look(_ context.Context, in activities.LookInput) (activities.TransitionResult, error) {
	leave, err := w.enter("Look")
	if err != nil {
		return activities.TransitionResult{}, err
	}
	defer leave()
	d := w.devices[in.Name]
	if first, ok := w.results[in.RequestID]; ok {
		return w.answered(first, d), nil
	}
	if fenced := w.fence(in.RestoreID, d); fenced != nil {
		return *fenced, nil
	}
	if d.gone && d.entry.State.Open() {
		return w.leaveRoll(d, in.RequestID, d.resumedBy), nil
	}
	if d.moved == "" || d.moved == d.entry.State {
		return w.result(d), nil
	}
	transition := runbook.T2
	switch {
	case d.entry.State == runbook.StateConflictPaused:
		transition, d.resumedBy, d.next = runbook.T4, "service:flightctl", "8"
	case d.moved == runbook.StateConflictPaused:
		transition, d.entry.Reported = runbook.T3, "7"
	}
	w.move(d, d.moved)
	result := w.result(d)
	result.Applied, result.Transition, result.By = true, transition, "service:flightctl"
	w.results[in.RequestID] = result
	return result, nil
}

// watchInventory does not block, as the real one does: time stands still while an activity runs. Tests that need it to
// run on mock it.
func (w *world) watchInventory(_ context.Context, in activities.WatchInput) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watches = append(w.watches, in)
	return w.watchFails
}

func (w *world) recordRefusal(_ context.Context, in activities.RefusalInput) error {
	leave, err := w.enter("RecordRefusal")
	if err != nil {
		return err
	}
	defer leave()
	text := in.Message + in.By + in.Reason + in.Version + in.Refusal.Message
	if w.refuseAudit || w.refuseWhatIsNotText && (strings.Contains(text, "\x00") || !utf8.ValidString(text)) {
		return refused(runbook.Refuse(runbook.CodeFailed, "invalid byte sequence"))
	}
	if !slices.ContainsFunc(w.refusals, func(r activities.RefusalInput) bool { return r.RequestID == in.RequestID }) {
		w.refusals = append(w.refusals, in)
	}
	return nil
}

func (w *world) restoreState(_ context.Context, in activities.RestoreRef) (activities.RestoreStateResult, error) {
	leave, err := w.enter("RestoreState")
	if err != nil {
		return activities.RestoreStateResult{}, err
	}
	defer leave()
	return activities.RestoreStateResult{State: w.restores[in.RestoreID], SupersededBy: w.supersededBy}, nil
}

func (w *world) openRestore(_ context.Context, in activities.OpenRestoreInput) (activities.OpenRestoreResult, error) {
	leave, err := w.enter("OpenRestore")
	if err != nil {
		return activities.OpenRestoreResult{}, err
	}
	defer leave()
	if w.refuseOpen != nil {
		return activities.OpenRestoreResult{}, refused(w.refuseOpen)
	}
	w.restores[in.ID] = runbook.RestoreRunning
	return activities.OpenRestoreResult{StartedAt: w.now(), Superseded: w.superseded}, nil
}

func (w *world) putOnRoll(_ context.Context, in activities.RollInput) (activities.RollResult, error) {
	leave, err := w.enter("PutOnRoll")
	if err != nil {
		return activities.RollResult{}, err
	}
	defer leave()
	if w.restores[in.RestoreID] != runbook.RestoreRunning {
		return activities.RollResult{},
			refused(runbook.Refuse(runbook.CodeSuperseded, "restore %s is not the current one", in.RestoreID))
	}
	from := slices.Index(w.order, in.AfterName) + 1
	to := min(from+w.chunk, len(w.order))
	result := activities.RollResult{Put: to - from, Done: to == len(w.order)}
	if to > from {
		result.LastOrg, result.LastName = org, w.order[to-1]
	}
	return result, nil
}

func (w *world) annotateRequests(context.Context, activities.RollInput) (activities.RollResult, error) {
	leave, err := w.enter("AnnotateRequests")
	if err != nil {
		return activities.RollResult{}, err
	}
	defer leave()
	return activities.RollResult{Done: true}, nil
}

func (w *world) finishRoll(context.Context, activities.RestoreRef) (activities.FinishRollResult, error) {
	leave, err := w.enter("FinishRoll")
	if err != nil {
		return activities.FinishRollResult{}, err
	}
	defer leave()
	return activities.FinishRollResult{Total: int64(len(w.order))}, nil
}

func (w *world) openEntries(_ context.Context, in activities.OpenEntriesInput) (activities.OpenEntriesResult, error) {
	leave, err := w.enter("OpenEntries")
	if err != nil {
		return activities.OpenEntriesResult{}, err
	}
	defer leave()
	var result activities.OpenEntriesResult
	for _, name := range w.order {
		entry := w.devices[name].entry
		if entry.State.Open() && entry.Seq >= in.Slice.From && entry.Seq < in.Slice.To {
			result.Entries = append(result.Entries, entry)
		}
	}
	return result, nil
}

func (w *world) beginWaves(_ context.Context, in activities.BeginWavesInput) error {
	leave, err := w.enter("BeginWaves")
	if err != nil {
		return err
	}
	defer leave()
	for _, d := range w.devices {
		if d.batch >= in.Batches {
			d.batch, d.wave = 0, 0
		}
	}
	return nil
}

func (w *world) batchEntries(_ context.Context, in activities.BatchInput) (activities.BatchResult, error) {
	leave, err := w.enter("BatchEntries")
	if err != nil {
		return activities.BatchResult{}, err
	}
	defer leave()
	var result activities.BatchResult
	for _, name := range w.order {
		if d := w.devices[name]; d.wave > 0 && d.batch == in.Batch {
			result.Claimed++
			result.NextWave = max(result.NextWave, d.wave)
			if d.entry.State.Open() {
				result.Entries = append(result.Entries, d.entry)
			}
		}
	}
	return result, nil
}

func (w *world) claim(_ context.Context, in activities.ClaimInput) (activities.ClaimResult, error) {
	leave, err := w.enter("Claim")
	if err != nil {
		return activities.ClaimResult{}, err
	}
	defer leave()
	var result activities.ClaimResult
	if w.restores[in.RestoreID] != runbook.RestoreRunning {
		return result, refused(runbook.Refuse(runbook.CodeSuperseded, "restore %s is not the current one", in.RestoreID))
	}
	take := func(wanted func(*worldDevice) bool) {
		for _, name := range w.order {
			if d := w.devices[name]; wanted(d) && len(result.Entries) < in.Limit {
				d.batch, d.wave = in.Batch, in.Wave+1
				result.Entries = append(result.Entries, d.entry)
			}
		}
	}
	take(func(d *worldDevice) bool { return d.batch == in.Batch && d.wave == in.Wave+1 })
	if len(result.Entries) > 0 {
		return result, nil
	}
	unclaimed := func(d *worldDevice) bool { return d.wave == 0 && d.entry.State.Open() }
	take(func(d *worldDevice) bool { return unclaimed(d) && (d.entry.Noted != "" || d.entry.Look) })
	take(unclaimed)
	return result, nil
}

func (w *world) tally(_ context.Context, in activities.RestoreRef) (runbook.RestoreStatus, error) {
	leave, err := w.enter("Tally")
	if err != nil {
		return runbook.RestoreStatus{}, err
	}
	defer leave()
	return w.status(in.RestoreID), nil
}

func (w *world) cancelLeftovers(context.Context, activities.RestoreRef) error {
	leave, err := w.enter("CancelLeftovers")
	if err != nil {
		return err
	}
	defer leave()
	return nil
}

func (w *world) closeRestore(_ context.Context, in activities.CloseRestoreInput) (runbook.RestoreStatus, error) {
	leave, err := w.enter("CloseRestore")
	if err != nil {
		return runbook.RestoreStatus{}, err
	}
	defer leave()
	if waiting := w.status(in.RestoreID).Waiting(); waiting > 0 && in.State == runbook.RestoreCompleted &&
		w.restores[in.RestoreID] == runbook.RestoreRunning {
		return runbook.RestoreStatus{}, refused(runbook.Refuse(runbook.CodeDevicesWaiting, "%d devices still wait", waiting))
	}
	if w.restores[in.RestoreID] == runbook.RestoreRunning {
		w.restores[in.RestoreID] = in.State
		w.closedBy, w.closedWhy = in.By, in.Reason
	}
	return w.status(in.RestoreID), nil
}

func (w *world) status(restoreID string) runbook.RestoreStatus {
	status := runbook.RestoreStatus{
		RestoreID: restoreID, State: w.restores[restoreID], Total: int64(len(w.order)),
		Counts: runbook.NewCounts(),
	}
	for _, d := range w.devices {
		status.Counts[d.entry.State]++
	}
	return status
}

// story is what the audit tells of a device.
func (w *world) story(context.Context, activities.StoryInput) (activities.StoryResult, error) {
	unlock, err := w.enter("Story")
	if err != nil {
		return activities.StoryResult{}, err
	}
	defer unlock()
	return activities.StoryResult{Timeline: w.told}, nil
}
