package runbook

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ResumeWorkflowName is the type of the workflow that carries out a plan: a human's decision about many devices.
const ResumeWorkflowName = "ResumeWorkflow"

// ResumeWorkflowID is the id of the workflow that carries out a plan.
func ResumeWorkflowID(planID string) string { return "resume/" + planID }

// Names of the updates and the query of a ResumeWorkflow. Each update takes a PlanCommand and answers a PlanProgress.
const (
	UpdateContinue    = "continue"     // a held plan goes on with its next wave
	UpdateAbort       = "abort"        // a plan ends; whoever was not asked stays paused
	UpdateRetryFailed = "retry-failed" // a held plan asks again who gave no answer, and waits again for who failed
	QueryPlan         = "plan"         // PlanProgress
)

// PlanState is where a plan stands.
type PlanState string

// The states of a plan.
const (
	PlanPlanned    PlanState = "Planned"    // the set is frozen, and no one was asked
	PlanRunning    PlanState = "Running"    // its workflow asks devices, or waits for them
	PlanHeld       PlanState = "Held"       // too many devices failed; a human decides how it goes on
	PlanCompleted  PlanState = "Completed"  // every device was asked
	PlanAborted    PlanState = "Aborted"    // a human ended it
	PlanSuperseded PlanState = "Superseded" // its restore was superseded or cancelled
)

// Ended reports whether nothing of the plan acts any more.
func (s PlanState) Ended() bool { return s == PlanCompleted || s == PlanAborted || s == PlanSuperseded }

// PlanInput starts a ResumeWorkflow.
type PlanInput struct {
	PlanID string `json:"planId"`
	// By is who decides, and Reason why; both go into the audit of each device. Where the Temporal server has recorded its
	// caller, that is who decides.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// As is who the caller says that they are. Where the server has recorded another caller, the plan is refused.
	As string `json:"as,omitempty"`
	// Waves is how the set is divided, in the form of ParseWaves; empty is one wave.
	Waves string `json:"waves,omitempty"`
	// PerSite bounds the devices of one site in a wave, in the form of ParsePerSite; empty is no bound.
	PerSite string `json:"perSite,omitempty"`
	// Soak is how long a wave lasts at least before the next one starts, in the form of time.ParseDuration; empty is 0.
	Soak string `json:"soak,omitempty"`
	// MaxFailures is how many devices may fail in all before the rest is held for a human.
	MaxFailures int `json:"maxFailures,omitempty"`
	// AwayAfter is how long a device may stay unseen after its resume before it is set aside; empty is DefaultAwayAfter.
	AwayAfter string `json:"awayAfter,omitempty"`
	// AskTimeout is how long one device may take to answer; empty is DefaultAskTimeout.
	AskTimeout string `json:"askTimeout,omitempty"`
	// Carried is what a run hands to the next one when its history grows long; nil in the input of a first run, which is
	// refused otherwise.
	Carried *PlanCarried `json:"carried,omitempty"`
}

// PlanCarried is what a run of a plan's workflow has come to.
type PlanCarried struct {
	OrgID string `json:"orgId"`
	// Progress has the wave that was carried out last.
	Progress PlanProgress `json:"progress"`
	// Tolerated is how many failures a human has accepted beyond MaxFailures, and GraceUntil until when failures do not
	// hold the plan.
	Tolerated  int64     `json:"tolerated,omitempty"`
	GraceUntil time.Time `json:"graceUntil,omitzero"`
	// Acted are the ids of the last commands that were acted on. Repeated, they are answered with where the plan stands.
	Acted []string `json:"acted,omitempty"`
}

// DefaultAskTimeout is how long a device of a plan may take to answer before its answer counts as unknown.
const DefaultAskTimeout = 20 * time.Second

// DefaultAwayAfter is how long a resumed device may stay unseen before its wave goes on without it. An agent whose
// polls fail waits up to five minutes between two of them.
const DefaultAwayAfter = 6 * time.Minute

// Rollout is a PlanInput that was read.
type Rollout struct {
	Waves     []Wave
	PerSite   PerSite
	Soak      time.Duration
	AwayAfter time.Duration
	// AskTimeout is above 0.
	AskTimeout time.Duration
}

// Check reads the input. What cannot be read is a *Refusal with CodeInvalidRequest.
func (in PlanInput) Check() (Rollout, error) {
	var r Rollout
	if in.PlanID == "" || strings.TrimSpace(in.By) == "" {
		return r, Refuse(CodeInvalidRequest, "a plan needs planId and by; start it with `starter resume --plan ID`")
	}
	if in.MaxFailures < 0 {
		return r, Refuse(CodeInvalidRequest, "maxFailures is %d: use 0 or more", in.MaxFailures)
	}
	if err := checkTexts(in.By, in.Reason, in.As); err != nil {
		return r, err
	}
	var err error
	if r.Waves, err = ParseWaves(in.Waves); err != nil {
		return r, err
	}
	if r.PerSite, err = ParsePerSite(in.PerSite); err != nil {
		return r, err
	}
	if r.Soak, err = parsePause("soak", in.Soak, 0); err != nil {
		return r, err
	}
	if r.AwayAfter, err = parsePause("awayAfter", in.AwayAfter, DefaultAwayAfter); err != nil {
		return r, err
	}
	r.AskTimeout, err = parsePause("askTimeout", in.AskTimeout, DefaultAskTimeout)
	if err == nil && r.AskTimeout == 0 {
		err = Refuse(CodeInvalidRequest, "askTimeout is 0: use more than nothing")
	}
	return r, err
}

func parsePause(name, text string, unset time.Duration) (time.Duration, error) {
	if text == "" {
		return unset, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, Refuse(CodeInvalidRequest, "%s %q is not a duration such as 10m", name, text)
	}
	return d, nil
}

// Wave says up to how many devices of a plan have been asked when the wave is over: a number, or a share of all.
type Wave struct {
	Devices int64
	Percent float64
}

// upTo is the wave's end in a plan of this many devices. A share is rounded up, so that it is never no one.
func (w Wave) upTo(total int64) int64 {
	if w.Devices > 0 {
		return min(w.Devices, total)
	}
	return min(int64(math.Ceil(float64(total)*w.Percent/100)), total)
}

// ParseWaves reads a list such as "5,10%,100%": the first 5 devices, then on until a tenth of all were asked, then the
// rest. Whatever the last wave leaves is one more wave. Empty is one wave of all. Anything else is a *Refusal with
// CodeInvalidRequest.
func ParseWaves(text string) ([]Wave, error) {
	if strings.TrimSpace(text) == "" {
		return []Wave{{Percent: 100}}, nil
	}
	var waves []Wave
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if share, ok := strings.CutSuffix(part, "%"); ok {
			percent, err := strconv.ParseFloat(share, 64)
			if err != nil || !(percent > 0 && percent <= 100) {
				return nil, badWaves(text, part)
			}
			waves = append(waves, Wave{Percent: percent})
			continue
		}
		devices, err := strconv.ParseInt(part, 10, 32)
		if err != nil || devices < 1 {
			return nil, badWaves(text, part)
		}
		waves = append(waves, Wave{Devices: devices})
	}
	return waves, nil
}

func badWaves(text, part string) error {
	return Refuse(CodeInvalidRequest,
		"waves %q cannot be read at %q: give numbers of devices or shares, such as 5,10%%,100%%", text, part)
}

// PerSite bounds how many devices with the same value of a label one wave may have. Its zero value is no bound.
type PerSite struct {
	Label string
	Most  int
}

// ParsePerSite reads LABEL=N; empty is no bound. Anything else is a *Refusal with CodeInvalidRequest.
func ParsePerSite(text string) (PerSite, error) {
	if text == "" {
		return PerSite{}, nil
	}
	label, number, ok := strings.Cut(text, "=")
	most, err := strconv.Atoi(number)
	if !ok || label == "" || err != nil || most < 1 {
		return PerSite{}, Refuse(CodeInvalidRequest, "per-site %q cannot be read: give a label and a number, such as site=2",
			text)
	}
	return PerSite{Label: label, Most: most}, nil
}

// AssignWaves divides a plan's devices, given by their sites in the plan's order, into waves. It returns the number of
// each one's wave, counted from 0. A wave holds at most PerSite.Most devices of a site; who is over that comes in a
// later wave, and waves are added at the end as needed. A device without a site is bound by no other.
func AssignWaves(sites []string, waves []Wave, per PerSite) []int {
	assigned := make([]int, len(sites))
	left := make([]int, len(sites))
	for i := range left {
		left[i] = i
	}
	total, done := int64(len(sites)), int64(0)
	for wave := 0; len(left) > 0; wave++ {
		room := total - done
		if wave < len(waves) {
			room = waves[wave].upTo(total) - done
		}
		if room <= 0 && wave < len(waves) {
			waves = append(waves[:wave:wave], waves[wave+1:]...) // an earlier wave has asked as many already
			wave--
			continue
		}
		var later []int
		taken, perSite := int64(0), map[string]int{}
		for _, i := range left {
			site := sites[i]
			if taken == room || per.Most > 0 && site != "" && perSite[site] == per.Most {
				later = append(later, i)
				continue
			}
			perSite[site]++
			taken++
			assigned[i] = wave
		}
		done += taken
		left = later
	}
	return assigned
}

// PlanCommand is a human's word about a plan.
type PlanCommand struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	Origin
}

// UnmarshalJSON reads a command strictly, as ResumeRequest does.
func (c *PlanCommand) UnmarshalJSON(text []byte) error {
	type plain PlanCommand
	return decodeObject(text, (*plain)(c))
}

// Check reports, as a *Refusal, whether the command can be read: it names who decides, and its texts can be stored.
func (c PlanCommand) Check() error {
	if strings.TrimSpace(c.By) == "" {
		return Refuse(CodeInvalidRequest,
			"the command does not say who decides: set \"by\", as in {\"by\":\"alice\",\"reason\":\"looked at web-7\"}")
	}
	if err := c.Origin.check(); err != nil {
		return err
	}
	return checkTexts(c.By, c.Reason)
}

// PlanProgress answers QueryPlan, and is the result of a ResumeWorkflow. The counts always add up to Total.
type PlanProgress struct {
	PlanID    string    `json:"planId"`
	RestoreID string    `json:"restoreId"`
	State     PlanState `json:"state"`
	By        string    `json:"by"`
	Reason    string    `json:"reason,omitempty"`
	// Wave is the number of the wave that is under way, counted from 1, and Waves how many there are.
	Wave  int `json:"wave"`
	Waves int `json:"waves"`
	PlanTally
	// Why says in a sentence what the plan waits for, or how it ended.
	Why string `json:"why,omitempty"`
	// RefusedSignal is nil where none was: a plan is told by updates.
	RefusedSignal *RefusedSignal `json:"refusedSignal,omitempty"`
}

// PlanHearsNoSignal is the refusal of a signal to a plan's workflow.
func PlanHearsNoSignal(planID, name string) *Refusal {
	return Refuse(CodeInvalidRequest, "the signal %q did nothing, because a plan is told by updates: use `starter resume "+
		"--abort %s`, --continue or --retry-failed", Storable(name), planID)
}

// PlanTally counts the devices of a plan. NotAsked, Unknown, Refused, Pending, Applied, Failed and Away add up to
// Total.
type PlanTally struct {
	Total int64 `json:"total"`
	// NotAsked were not asked yet.
	NotAsked int64 `json:"notAsked"`
	// Unknown were asked and gave no answer; they may have been resumed.
	Unknown int64 `json:"unknown"`
	// Refused are those that said no: they have moved since the plan was made.
	Refused int64 `json:"refused"`
	// Pending were resumed and have not reported the rendered version yet.
	Pending int64 `json:"pending"`
	// Applied have reported the rendered version, and are healthy.
	Applied int64 `json:"applied"`
	// Failed were resumed and report an error.
	Failed int64 `json:"failed"`
	// Away were resumed and have not been seen since; the next wave does not wait for them.
	Away int64 `json:"away"`
}

// Resumed is the number of devices that were resumed, whatever came of it.
func (t PlanTally) Resumed() int64 { return t.Pending + t.Applied + t.Failed + t.Away }

// Failures is what counts against MaxFailures.
func (t PlanTally) Failures() int64 { return t.Failed + t.Unknown }

// AddsUp reports whether every device of the plan is accounted for.
func (t PlanTally) AddsUp() bool {
	return t.NotAsked+t.Unknown+t.Refused+t.Resumed() == t.Total
}

// Codes of refusals that concern plans.
const (
	CodePlanEnded      Code = "PlanEnded"      // the plan has ended, expired, or was started already
	CodePlanRequired   Code = "PlanRequired"   // max-share is set, and the resume does not come from a plan
	CodePlanTooLarge   Code = "PlanTooLarge"   // the plan holds a larger share of the fleet than one may
	CodeReasonRequired Code = "ReasonRequired" // require-reason is set, and the decision gives none
	CodeNotInPlan      Code = "NotInPlan"      // the decision names a plan that does not hold the device as it stands
	CodePlanWaits      Code = "PlanWaits"      // the plan is held, or has not begun the device's wave
)

// PlanWaits is the refusal of a resume that names a plan which does not ask the device yet.
func PlanWaits(planID, name string) *Refusal {
	return Refuse(CodePlanWaits, "plan %s is held, or has not begun the wave of device %s; nothing was changed", planID,
		name)
}

// PlanTries is how often a plan asks a device that answers CodePlanWaits.
const PlanTries = 3

// The ids of a plan's updates begin with these. No plan's id makes an id of the one kind look like one of the other.
const (
	planUpdates      = "plan/"
	planUpdatesAgain = "plan-again/"
)

// PlanUpdateID is the id of the update by which a plan asks a device. A device gives its first answer to the same id
// again. One that was refused before its wave is therefore asked under another: try counts from 1 to PlanTries.
func PlanUpdateID(planID string, try int) string {
	if try == 1 {
		return planUpdates + planID
	}
	return fmt.Sprintf("%s%d/%s", planUpdatesAgain, try, planID)
}

// IsPlanRequest reports whether a request id is that of an update by which the plan asks a device.
func IsPlanRequest(planID, requestID string) bool {
	for try := 1; try <= PlanTries; try++ {
		if requestID == updateRequests+PlanUpdateID(planID, try) {
			return true
		}
	}
	return false
}

// ResumePolicy is what an operator of the workers demands of resumes. Its zero value demands nothing.
type ResumePolicy struct {
	// RequireReason refuses a decision without a reason.
	RequireReason bool
	// MaxShare is the largest share of a restore's roll, above 0 and at most 1, that one plan may hold; 0 is no limit.
	// While it is set, resumes that come from no plan are refused.
	MaxShare float64
}

// ParseShare reads a share of all, such as 10%, as a number above 0 and at most 1; empty is 0, no share. Anything else
// is a *Refusal with CodeInvalidRequest.
func ParseShare(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent > 0 && percent <= 100) {
		return 0, Refuse(CodeInvalidRequest,
			"share %q cannot be read: give a percentage above 0%% and at most 100%%, such as 10%%", text)
	}
	return percent / 100, nil
}

// AboveShare reports whether so many devices are more than a share of a roll of onRoll devices.
func AboveShare(devices, onRoll int64, share float64) bool {
	return float64(devices) > share*float64(onRoll)
}

// Check reports, as a *Refusal, what the policy has against a resume. plan is the id of the plan that it comes from,
// or empty.
func (p ResumePolicy) Check(plan, reason string) error {
	switch {
	case p.RequireReason && strings.TrimSpace(reason) == "":
		return Refuse(CodeReasonRequired, "a resume needs a reason here (--reason); nothing was changed")
	case p.MaxShare > 0 && plan == "":
		return Refuse(CodePlanRequired,
			"devices are resumed by a plan here: make one with `starter plan resume`, then `starter resume --plan ID`")
	}
	return nil
}

// CheckPlan reports, as a *Refusal, whether a plan of this many devices may run on a roll of onRoll.
func (p ResumePolicy) CheckPlan(devices, onRoll int64, reason string) error {
	if p.RequireReason && strings.TrimSpace(reason) == "" {
		return Refuse(CodeReasonRequired, "a resume needs a reason here (--reason); nothing was changed")
	}
	if p.MaxShare > 0 && AboveShare(devices, onRoll, p.MaxShare) {
		return Refuse(CodePlanTooLarge,
			"the plan holds %d of %d devices, and at most %s of the roll may be in one plan; plan fewer",
			devices, onRoll, fmt.Sprintf("%g%%", 100*p.MaxShare))
	}
	return nil
}
