package runbook

import (
	"encoding/json"
	"strings"
	"time"
)

// Identity says how it is known who acted.
type Identity string

// The identities of people. What an agent or a service does has none.
const (
	// Authenticated is a person that the Temporal server has recorded as its caller.
	Authenticated Identity = "authenticated"
	// Asserted is a name that a message has given.
	Asserted Identity = "asserted"
)

// Via says through what a message came.
type Via string

// The ways of a message.
const (
	ViaCLI    Via = "cli"    // a command of starter
	ViaPlan   Via = "plan"   // a plan that asks its devices
	ViaUpdate Via = "update" // an update that something else has sent, such as the temporal command
	ViaSignal Via = "signal" // a signal that something else has sent
)

// updateRequests begins the request ids of updates.
const updateRequests = "update/"

// ViaOf returns through what a message came. requestID is the id that its workflow gave it.
func ViaOf(requestID string, o Origin) Via {
	switch {
	case o.Decision != "" || o.Via == ViaCLI:
		return ViaCLI
	case strings.HasPrefix(requestID, updateRequests+planUpdates),
		strings.HasPrefix(requestID, updateRequests+planUpdatesAgain):
		return ViaPlan
	case strings.HasPrefix(requestID, updateRequests):
		return ViaUpdate
	case strings.HasPrefix(requestID, "signal/"):
		return ViaSignal
	}
	return ""
}

// Origin is what a message says about where it comes from.
type Origin struct {
	// Decision is the id of a DecisionWorkflow that has recorded who decides. It is checked in the database. Empty is a
	// message whose sender asserts who they are.
	Decision string `json:"decision,omitempty"`
	// Via is ViaCLI in a message of starter, and empty in any other.
	Via Via `json:"via,omitempty"`
}

func (o Origin) check() error {
	if o.Via != "" && o.Via != ViaCLI {
		return Refuse(CodeInvalidRequest, "via %s cannot be given: leave it out", quoteShort(string(o.Via)))
	}
	return checkTexts(o.Decision)
}

// Act names what a person does. An entry of the audit has it as its signal.
type Act string

// The acts of people.
const (
	ActRestore     Act = "restore"
	ActSupersede   Act = "supersede"
	ActCancel      Act = "cancel"
	ActReconnect   Act = SignalReconnect
	ActResume      Act = SignalResume
	ActWithdraw    Act = SignalWithdraw
	ActApprove     Act = SignalApprove
	ActDeny        Act = SignalDeny
	ActPlan        Act = "plan"        // a plan is made
	ActResumePlan  Act = "resume-plan" // a plan is started
	ActContinue    Act = UpdateContinue
	ActAbort       Act = UpdateAbort
	ActRetryFailed Act = UpdateRetryFailed
)

// recordable are the acts that a DecisionWorkflow records. The workflows of a restore and of a plan record their own
// start.
var recordable = map[Act]bool{
	ActCancel: true, ActReconnect: true, ActResume: true, ActWithdraw: true, ActApprove: true, ActDeny: true,
	ActPlan: true, ActContinue: true, ActAbort: true, ActRetryFailed: true,
}

// DecisionWorkflowName is the type of the short workflow that records who decides, as the Temporal server knows its
// caller.
const DecisionWorkflowName = "DecisionWorkflow"

const decisionWorkflowPrefix = "decision/"

// DecisionWorkflowID is the id of the workflow that records a decision.
func DecisionWorkflowID(decisionID string) string { return decisionWorkflowPrefix + decisionID }

// MaxDecisionTargets is how many targets one decision may have. A decision about more of them is recorded in parts.
const MaxDecisionTargets = 2000

// DecisionLife is how long after it was recorded a decision may be carried out. It is recorded just before it is sent.
const DecisionLife = 24 * time.Hour

// DecisionInput starts a DecisionWorkflow.
type DecisionInput struct {
	ID  string `json:"id"`
	Act Act    `json:"act"`
	// OrgID is the organisation of the targets, by its UUID.
	OrgID string `json:"orgId"`
	// Targets are the devices, the enrollment requests, the restore or the plan that the decision is about.
	Targets []DecisionTarget `json:"targets"`
	// As is who the caller says that they are. Where the server has recorded another caller, the decision is refused.
	As string `json:"as,omitempty"`
	// By is recorded, as asserted, where the server has recorded no caller and As is empty.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Details is what else the messages say: their Details.
	Details string `json:"details,omitempty"`
}

// DecisionTarget is one thing that a decision is about.
type DecisionTarget struct {
	Name string `json:"name"`
	// Version is what the human looked at or reports: the version of a device, or the fingerprint of a request's key.
	// Empty is no expectation.
	Version string `json:"version,omitempty"`
}

// Check reports, as a *Refusal, what keeps the decision from being recorded.
func (in DecisionInput) Check() error {
	switch {
	case in.ID == "" || in.OrgID == "":
		return Refuse(CodeInvalidRequest, "a decision needs id and orgId; it is recorded by a command of starter")
	case !recordable[in.Act]:
		return Refuse(CodeInvalidRequest, "there is no act %s that could be recorded", quoteShort(string(in.Act)))
	case len(in.Targets) == 0 || len(in.Targets) > MaxDecisionTargets:
		return Refuse(CodeInvalidRequest, "a decision is about 1 to %d targets, and not about %d",
			MaxDecisionTargets, len(in.Targets))
	}
	for _, t := range in.Targets {
		if t.Name == "" {
			return Refuse(CodeInvalidRequest, "a target of the decision has no name")
		}
		if err := checkTexts(t.Name, t.Version); err != nil {
			return err
		}
	}
	return checkTexts(in.ID, in.As, in.By, in.Reason, in.Details)
}

// DecisionRecord is a decision as it was recorded, and the result of a DecisionWorkflow.
type DecisionRecord struct {
	ID       string   `json:"id"`
	By       string   `json:"by"`
	Identity Identity `json:"identity"`
}

// Decider returns who decides. caller is who the Temporal server has recorded, or empty; as is who they say that
// they are, and by who is recorded where neither is known. It is a *Refusal with CodeNotYou where as is not the
// caller, and with CodeInvalidRequest where a name cannot be kept.
func Decider(caller, as, by string) (who string, identity Identity, err error) {
	if err := checkTexts(as, by); err != nil {
		return "", "", err
	}
	switch {
	case caller != "" && as != "" && as != caller:
		return caller, Authenticated, Refuse(CodeNotYou,
			"Temporal knows the caller as %s, and not as %s: leave --as out, or connect as %s",
			quoteShort(caller), quoteShort(as), quoteShort(as))
	case caller != "":
		return caller, Authenticated, nil
	case as != "":
		return as, Asserted, nil
	case by != "":
		return by, Asserted, nil
	}
	return "", "", nil
}

// Claim is a message that refers to a decision.
type Claim struct {
	Act     Act
	Target  DecisionTarget
	By      string
	Reason  string
	Details string
}

// Allows reports, as a *Refusal with CodeNotDecided, whether a recorded decision is about what a message asks for.
// target is the decision's own entry for the message's target; nil where it has none.
func (d DecisionInput) Allows(c Claim, target *DecisionTarget, age time.Duration) error {
	wrong := ""
	switch {
	case d.Act != c.Act:
		wrong = "it is about another act (" + string(d.Act) + ")"
	case target == nil:
		wrong = "it is not about " + quoteShort(c.Target.Name)
	case target.Version != c.Target.Version:
		wrong = "it is about version " + quoteShort(target.Version)
	case d.By != c.By:
		wrong = "it was made by " + quoteShort(d.By)
	case d.Reason != c.Reason || d.Details != c.Details:
		wrong = "it says something else"
	case age > DecisionLife:
		wrong = "it was made more than " + DecisionLife.String() + " ago"
	default:
		return nil
	}
	return Refuse(CodeNotDecided, "decision %s does not allow this: %s; decide again with starter. Nothing was changed",
		quoteShort(d.ID), wrong)
}

// NoDecision is the refusal of a message that refers to a decision that was never recorded.
func NoDecision(id string) *Refusal {
	return Refuse(CodeNotDecided, "there is no decision %s: decide with starter, which records it. Nothing was changed",
		quoteShort(id))
}

// Details is what else a withdrawal says, in the form of DecisionInput.Details.
func (w WithdrawSignal) Details() string {
	if !w.Force && w.Decommission == "" {
		return ""
	}
	return details(map[string]any{"force": w.Force, "decommission": w.Decommission})
}

// Details is what else an approval says, in the form of DecisionInput.Details.
func (r ApproveRequest) Details() string {
	if len(r.Labels) == 0 && !r.ReplaceLabels {
		return ""
	}
	return details(map[string]any{"labels": r.Labels, "replaceLabels": r.ReplaceLabels})
}

// Details is what else a denial says, in the form of DecisionInput.Details.
func (r DenyRequest) Details() string {
	if !r.Delete {
		return ""
	}
	return details(map[string]any{"delete": r.Delete})
}

// details writes the keys of maps in their order, so that equal content is equal text.
func details(m map[string]any) string {
	text, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(text)
}
