package ask

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rollcall/inventory"
	"rollcall/inventory/plans"
	"rollcall/runbook"
)

// Selection is a decision about devices that a selector has found. A plan carries it out.
type Selection struct {
	// Plan is the plan, without its id.
	Plan
	Store *inventory.Store
	// RequestID and Command identify the decision: the same command under the same request id has the same plan.
	RequestID string
	Command   []string
	// Input is what the plan's workflow is started with, without the plan's id.
	Input runbook.PlanInput
	// Make stores a plan that holds these devices.
	Make func(ctx context.Context, id string, devices []inventory.DevicePosition) error
	// Answer gets the answer of each device.
	Answer func(d inventory.DevicePosition, answer runbook.ResumeDecision)
}

// Resume has a plan resume the devices, and hands over their answers. A plan that an earlier try of the command has
// begun is gone on with, and its devices answer in the place of these. Who has answered a plan of the command that has
// ended gives the same answer again, and is in no further plan. planID is the last plan's, or empty; goesOn reports
// whether the command has left it before every device had answered.
func (s Selection) Resume(
	ctx context.Context, devices []inventory.DevicePosition,
) (planID string, goesOn bool, err error) {
	all := plans.Plans{DB: s.Store.DB()}
	selected := make(map[string]inventory.DevicePosition, len(devices))
	for _, d := range devices {
		selected[d.Name] = d
	}
	for n := 1; ; n++ {
		s.ID = selectionPlanID(s.RequestID, s.Command, n)
		plan, err := all.Get(ctx, s.ID)
		switch refusal := runbook.AsRefusal(err); {
		case refusal != nil && refusal.Code == runbook.CodeNotFound:
			planned := s.refuseUncalled(ctx, devices)
			if len(planned) == 0 {
				return planID, false, nil
			}
			if err := s.Make(ctx, s.ID, planned); err != nil {
				return "", false, err
			}
			_, goesOn = s.carry(ctx, all, selected, planned)
			return s.ID, goesOn, nil
		case err != nil:
			return "", false, err
		case !plan.State.Ended() && !plan.Expired && (plan.Current || plan.State != runbook.PlanPlanned):
			planID = s.ID
			told, goesOn := s.carry(ctx, all, selected, devices)
			if goesOn {
				return planID, true, nil
			}
			devices = without(devices, told) // the others are in the next plan
			continue
		}
		if slices.ContainsFunc(devices, func(d inventory.DevicePosition) bool {
			return d.RestoreID != "" && d.RestoreID != plan.RestoreID
		}) {
			continue // it was about another restore
		}
		planID = s.ID
		answered, err := s.tell(ctx, all, selected, nil)
		if err != nil {
			return "", false, err
		}
		devices = without(devices, answered)
	}
}

func without(devices []inventory.DevicePosition, told map[string]bool) []inventory.DevicePosition {
	return slices.DeleteFunc(devices, func(d inventory.DevicePosition) bool { return told[d.Name] })
}

// selectionPlanID is the id of a command's plan; n counts its plans from 1.
func selectionPlanID(requestID string, command []string, n int) string {
	text, err := json.Marshal(append([]string{requestID, strconv.Itoa(n)}, command...))
	if err != nil { // strings can always be written
		panic(err)
	}
	sum := sha256.Sum256(text)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:12]
}

// refuseUncalled answers for the devices that no plan can hold, because no restore runs that waits for them, and
// returns the others.
func (s Selection) refuseUncalled(
	ctx context.Context, devices []inventory.DevicePosition,
) (planned []inventory.DevicePosition) {
	for _, d := range devices {
		if d.WaitsOnRoll() {
			planned = append(planned, d)
			continue
		}
		s.Answer(d, refusedBy(NoWorkflow(ctx, s.Client, s.Store, s.OrgID, d.Name)))
	}
	return planned
}

// carry starts the plan, waits until every device of it has answered, hands the answers over, and returns who they are
// of. A plan that may not run is the answer of each of its devices. Where the command is interrupted, or no worker
// answers, or the database cannot be read, the plan goes on, and what becomes of a device that has not answered is
// unknown. devices are those of which that is said where the plan cannot be read.
func (s Selection) carry(
	ctx context.Context, all plans.Plans, selected map[string]inventory.DevicePosition,
	devices []inventory.DevicePosition,
) (told map[string]bool, goesOn bool) {
	in := s.Input
	in.PlanID = s.ID
	runID, err := s.Start(ctx, in)
	refusal := answerOf(err)
	if err == nil {
		_, err = s.Watch(ctx, runID)
		refusal = runbook.AsRefusal(err)
	}
	ctx, cancel := askContext(ctx, QueryTimeout)
	defer cancel()
	plan, readErr := all.Get(ctx, s.ID)
	switch {
	case readErr != nil:
		return s.unread(devices, readErr), true
	case plan.State.Ended():
		refusal = runbook.Refuse(runbook.CodeNotAsked, "%s", whyPlanEnded(plan))
	case refusal != nil:
	case err == nil || IsLeft(err):
		goesOn = true
		refusal = runbook.Refuse(runbook.CodeOutcomeUnknown,
			"outcome unknown: no answer yet, and plan %s goes on; see `%s`", s.ID, s.Show())
	default:
		goesOn = true // it may have been started
		refusal = runbook.Refuse(runbook.CodeOutcomeUnknown, "outcome unknown: %v", err)
	}
	if told, err = s.tell(ctx, all, selected, refusal); err != nil {
		return s.unread(devices, err), true
	}
	return told, goesOn
}

// unread hands over that it is not known what becomes of devices, because the plan cannot be read.
func (s Selection) unread(devices []inventory.DevicePosition, err error) map[string]bool {
	told := map[string]bool{}
	for _, d := range devices {
		told[d.Name] = true
		s.Answer(d, refusedBy(runbook.Refuse(runbook.CodeOutcomeUnknown,
			"outcome unknown: plan %s goes on, and cannot be read: %v; see `%s`", s.ID, err, s.Show())))
	}
	return told
}

// tell hands over the answers of the plan's devices, and returns who they are of. One that was not asked gets the
// refusal; without one, nothing is handed over for a device that was not asked or gave no answer.
func (s Selection) tell(
	ctx context.Context, all plans.Plans, selected map[string]inventory.DevicePosition, unasked *runbook.Refusal,
) (told map[string]bool, err error) {
	devices, err := all.Devices(ctx, s.ID, runbook.DefaultAwayAfter)
	if err != nil {
		return nil, err
	}
	told = map[string]bool{}
	for _, d := range devices {
		position, known := selected[d.Name]
		position.Name = d.Name
		answer := runbook.ResumeDecision{
			Accepted: d.Answer == plans.AnswerResumed, Name: d.Name, Reported: d.Reported, Next: d.Next, Code: d.Code,
			Message: d.Message,
		}
		if known { // a device that was resumed by an earlier try has lost its restored version
			answer.Restored = runbook.OrZero(position.Restored)
		}
		switch {
		case answer.Accepted || d.Answer == plans.AnswerRefused:
		case unasked == nil:
			continue
		case d.Answer == "":
			answer = refusedBy(unasked)
		}
		told[d.Name] = true
		s.Answer(position, answer)
	}
	return told, nil
}

// whyPlanEnded says how a plan has ended before all of its devices were asked.
func whyPlanEnded(plan plans.Plan) string {
	why := fmt.Sprintf("plan %s has ended (%s)", plan.ID, plan.State)
	if plan.EndedBy != "" {
		why = fmt.Sprintf("plan %s was ended by %s", plan.ID, plan.EndedBy)
	}
	if plan.EndReason != "" {
		why += ": " + plan.EndReason
	}
	return why
}
