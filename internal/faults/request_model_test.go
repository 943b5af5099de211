package faults

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// Each history is of one request. The calls follow each other, and a second between.
func TestTheModelKnowsWhatBecomesOfARequest(t *testing.T) {
	t.Parallel()
	posts := func(answer Answer) Call { return Call{Kind: Post, Answer: answer} }
	decides := func(kind Kind, by string, answer Answer) Call { return Call{Kind: kind, By: by, Answer: answer} }
	sees := func(state runbook.EnrollmentState) Call {
		return Call{Kind: See, Answer: Accepted, Found: requestRow{State: state}}
	}
	looks := func(found requestRow) Call { return Call{Kind: Look, Awaits: true, Found: found} }
	const pending, approved, denied = runbook.EnrollmentPending, runbook.EnrollmentApproved, runbook.EnrollmentDenied
	const waits = runbook.StateAwaitingReconnect
	open := requestRow{State: pending}
	letIn, keptOut := requestRow{approved, "a", 1, 1, waits, 1}, requestRow{denied, "a", 1, 0, "", 0}
	offRoll, twice := requestRow{approved, "a", 1, 1, waits, 0}, requestRow{approved, "a", 2, 1, waits, 1}
	early := decides(Approve, "a", Accepted)
	early.Early, early.Awaits = true, true
	fresh := Call{Kind: Look, Found: requestRow{approved, "a", 1, 1, runbook.StateNormal, 0}}
	for name, test := range map[string]struct {
		calls []Call
		legal bool
	}{
		"nothing":             {[]Call{sees(""), looks(requestRow{})}, true},
		"posted":              {[]Call{posts(Accepted), posts(Refused), looks(open)}, true},
		"posted, and lost":    {[]Call{posts(Accepted), looks(requestRow{})}, false},
		"a foreign request":   {[]Call{looks(open)}, false},
		"made twice":          {[]Call{posts(Accepted), posts(Accepted), looks(open)}, false},
		"is said to be there": {[]Call{posts(Refused), looks(requestRow{})}, false},
		"an unknown post":     {[]Call{posts(Unknown), looks(open)}, true},
		"an unknown post, no": {[]Call{posts(Unknown), looks(requestRow{})}, true},
		"approved": {[]Call{
			posts(Accepted), decides(Approve, "a", Accepted), decides(Approve, "b", Refused), sees(approved), looks(letIn),
		}, true},
		"approved and denied": {[]Call{
			posts(Accepted), decides(Approve, "a", Accepted), decides(Deny, "b", Accepted), looks(letIn),
		}, false},
		"denied": {[]Call{
			posts(Accepted), decides(Deny, "a", Accepted), decides(Approve, "b", Refused), sees(denied), looks(keptOut),
		}, true},
		"denied, and let in": {[]Call{posts(Accepted), decides(Deny, "a", Accepted), looks(letIn)}, false},
		"denied, with a device": {[]Call{
			posts(Accepted), decides(Deny, "a", Accepted), looks(requestRow{denied, "a", 1, 1, waits, 1}),
		}, false},
		"approved by another":         {[]Call{posts(Accepted), decides(Approve, "b", Accepted), looks(letIn)}, false},
		"decided twice":               {[]Call{posts(Accepted), decides(Approve, "a", Accepted), looks(twice)}, false},
		"a device on no roll":         {[]Call{posts(Accepted), decides(Approve, "a", Accepted), looks(offRoll)}, false},
		"let in while no restore ran": {[]Call{posts(Accepted), early, looks(offRoll)}, true},
		"its device waits, and should not": {[]Call{
			posts(Accepted), decides(Approve, "a", Accepted), {Kind: Look, Found: letIn},
		}, false},
		"its device does not wait":         {[]Call{posts(Accepted), decides(Approve, "a", Accepted), fresh}, true},
		"refused for nothing":              {[]Call{posts(Accepted), decides(Deny, "a", Refused), sees(pending)}, false},
		"decided before it was posted":     {[]Call{decides(Deny, "a", Accepted), looks(keptOut)}, false},
		"refused before it was posted":     {[]Call{decides(Deny, "a", Refused), looks(requestRow{})}, true},
		"a signal":                         {[]Call{posts(Accepted), decides(Approve, "a", Stored), looks(letIn)}, true},
		"a signal is lost":                 {[]Call{posts(Accepted), decides(Deny, "a", Stored), looks(open)}, false},
		"an unknown denial":                {[]Call{posts(Accepted), decides(Deny, "a", Unknown), looks(keptOut)}, true},
		"the agent is told that it waits":  {[]Call{posts(Accepted), decides(Deny, "a", Accepted), sees(pending)}, false},
		"the agent is told of no approval": {[]Call{posts(Accepted), sees(approved)}, false},
		"the agent is told before the end": {[]Call{
			posts(Accepted), decides(Deny, "a", Stored), sees(pending), looks(keptOut),
		}, true},
		"put back": {[]Call{
			posts(Accepted),
			{Kind: Save},
			decides(Approve, "b", Accepted),
			{Kind: PutBack},
			sees(pending),
			decides(Approve, "a", Accepted), looks(letIn),
		}, true},
		"put back, and not": {[]Call{
			posts(Accepted), {Kind: Save}, decides(Approve, "a", Accepted), {Kind: PutBack}, looks(letIn),
		}, false},
	} {
		now := time.Unix(1, 0)
		for i := range test.calls {
			c := &test.calls[i]
			c.OrgID, c.Device, c.Request, c.Start, c.End = runbook.DefaultOrgID, "e", true, now, now.Add(time.Second/2)
			if now = now.Add(time.Second); c.Kind == Save || c.Kind == PutBack {
				c.Via, c.Answer = harness, Accepted
			}
		}
		end := test.calls[len(test.calls)-1].Start.Add(-time.Millisecond)
		require.Equal(t, test.legal, legal(test.calls, end), name)
	}
	require.Equal(t, porcupine.Unknown, searchRequest(nil, time.Time{}, 0), "there is no time left")
}
