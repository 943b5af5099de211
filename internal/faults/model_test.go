package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// Each history is of one device that was restored at version 5. The calls follow each other, and a second between.
func TestTheModelKnowsTheTableOfTransitions(t *testing.T) {
	t.Parallel()
	const paused, normal = runbook.StateConflictPaused, runbook.StateNormal
	reports := func(version string) Call { return Call{Kind: Report, Version: version, Answer: Stored} }
	early := func(version string) Call { return Call{Kind: Put, Version: version, Answer: Stored, Early: true} }
	resumes := func(by, expect string, answer Answer) Call {
		return Call{Kind: Resume, By: by, Version: expect, Answer: answer}
	}
	looks := func(state runbook.State, reported, next, by string) Call {
		return Call{Kind: Look, Seen: row{state, reported, next, by}}
	}
	for name, test := range map[string]struct {
		calls []Call
		legal bool
	}{
		"nothing":                   {[]Call{looks(runbook.StateAwaitingReconnect, "", "", "")}, true},
		"compatible":                {[]Call{reports("5"), looks(normal, "5", "", "")}, true},
		"a report is lost":          {[]Call{reports("5"), looks(runbook.StateAwaitingReconnect, "", "", "")}, false},
		"an early report":           {[]Call{early("5"), looks(runbook.StateAwaitingReconnect, "", "", "")}, true},
		"an early report, taken up": {[]Call{early("5"), looks(normal, "5", "", "")}, true},
		"a foreign report":          {[]Call{looks(normal, "5", "", "")}, false},
		"unreadable":                {[]Call{reports("abc"), looks(runbook.StateAwaitingReconnect, "", "", "")}, true},
		"unreadable goes by":        {[]Call{reports("abc"), looks(normal, "0", "", "")}, false},
		"resumed": {[]Call{
			reports("7"), resumes("a", "7", Accepted), resumes("b", "7", Refused), looks(normal, "7", "8", "a"),
		}, true},
		"resumed twice": {[]Call{
			reports("7"), resumes("a", "", Accepted), resumes("b", "", Accepted), looks(normal, "7", "8", "b"),
		}, false},
		"refused for nothing": {[]Call{
			reports("7"), {Kind: Look, Seen: row{paused, "7", "", ""}}, resumes("a", "7", Refused), looks(paused, "7", "", ""),
		}, false},
		"an unknown resume":      {[]Call{reports("7"), resumes("a", "", Unknown), looks(normal, "7", "8", "a")}, true},
		"an unknown resume, not": {[]Call{reports("7"), resumes("a", "", Unknown), looks(paused, "7", "", "")}, true},
		"another version":        {[]Call{reports("7"), resumes("a", "6", Accepted), looks(normal, "7", "8", "a")}, false},
		"a lower status": {[]Call{
			reports("9"), {Kind: Put, Version: "7", Answer: Stored}, looks(paused, "9", "", ""),
		}, true},
		"a status that waits for its poll": {[]Call{
			{Kind: Put, Version: "5", Answer: Stored}, looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, true},
		"a status, and its poll": {[]Call{
			{Kind: Put, Version: "5", Answer: Stored}, reports("7"), looks(paused, "7", "", ""),
		}, true},
		"a status that is ahead is lost": {[]Call{
			{Kind: Put, Version: "7", Answer: Stored}, looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, false},
		"a person reports": {[]Call{
			{Kind: Report, Version: "7", Answer: Accepted},
			{Kind: Report, Version: "v7", Answer: Refused},
			looks(paused, "7", "", ""),
		}, true},
		"a person's report is lost": {
			[]Call{{Kind: Report, Version: "7", Answer: Accepted}, looks(runbook.StateAwaitingReconnect, "", "", "")}, false,
		},
		"a person's report is refused for nothing": {
			[]Call{{Kind: Report, Version: "7", Answer: Refused}, looks(runbook.StateAwaitingReconnect, "", "", "")}, false,
		},
		"a report is accepted after the end": {
			[]Call{
				{Kind: Report, Version: "5", Answer: Accepted},
				{Kind: Report, Version: "5", Answer: Accepted},
				looks(normal, "5", "", ""),
			}, false,
		},
		"a withdrawal is accepted twice": {[]Call{
			{Kind: Withdraw, Answer: Accepted},
			{Kind: Withdraw, Answer: Accepted},
			looks(runbook.StateWithdrawn, "", "", ""),
		}, false},
		"a withdrawal after the end is refused": {
			[]Call{reports("5"), {Kind: Withdraw, Answer: Refused}, looks(normal, "5", "", "")}, true,
		},
		"put back": {[]Call{
			{Kind: Save, Answer: Accepted},
			{Kind: Report, Version: "7", Answer: Accepted},
			resumes("a", "7", Accepted),
			{Kind: PutBack, Answer: Accepted},
			looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, true},
		"put back, and not": {[]Call{
			{Kind: Report, Version: "7", Answer: Accepted},
			{Kind: Save, Answer: Accepted},
			resumes("a", "7", Accepted),
			{Kind: PutBack, Answer: Accepted},
			looks(normal, "7", "8", "a"),
		}, false},
		"saved, and lost": {[]Call{
			{Kind: Report, Version: "7", Answer: Accepted},
			{Kind: Save, Answer: Accepted},
			{Kind: PutBack, Answer: Accepted},
			looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, false},
		"forgotten": {
			[]Call{reports("7"), {Kind: Forget, Answer: Accepted}, looks(runbook.StateAwaitingReconnect, "", "", "")}, true,
		},
		"reported after Temporal forgot": {
			[]Call{{Kind: Forget, Answer: Accepted}, reports("7"), looks(runbook.StateAwaitingReconnect, "", "", "")}, false,
		},
		"withdrawn": {[]Call{{Kind: Withdraw, Answer: Stored}, looks(runbook.StateWithdrawn, "", "", "")}, true},
		"decided after its restore was taken up": {[]Call{
			reports("7"), {Kind: Cancel, Answer: Accepted}, resumes("a", "7", Accepted), looks(normal, "7", "8", "a"),
		}, true},
		"cancelled, and not taken up as it stood": {[]Call{
			{Kind: Report, Version: "7", Answer: Accepted},
			{Kind: Cancel, Answer: Accepted},
			looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, false},
		"seen, and not taken up as it stood": {[]Call{
			reports("7"), looks(paused, "7", "", ""),
			{Kind: Cancel, Answer: Accepted},
			looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, false},
		"unread when its restore was cancelled": {[]Call{
			reports("7"), {Kind: Cancel, Answer: Accepted}, looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, true},
		"lost after its restore was taken up": {[]Call{
			{Kind: Cancel, Answer: Accepted}, reports("7"), looks(runbook.StateAwaitingReconnect, "", "", ""),
		}, false},
	} {
		now := time.Unix(1, 0)
		for i := range test.calls {
			c := &test.calls[i]
			c.OrgID, c.Device, c.Start, c.End = runbook.DefaultOrgID, "d", now, now.Add(time.Second/2)
			now = now.Add(time.Second)
		}
		end := test.calls[len(test.calls)-1].Start.Add(-time.Millisecond)
		require.Equal(t, test.legal, legal(test.calls, end), name)
	}
}

// While a restore is cancelled, what is asked may be refused, and be asked again later.
func TestADecisionMayBeRefusedWhileTheRestoreIsCancelled(t *testing.T) {
	t.Parallel()
	at := func(from, to int, c Call) Call {
		c.OrgID, c.Device = runbook.DefaultOrgID, "d"
		c.Start, c.End = time.Unix(int64(from), 0), time.Unix(int64(to), 0)
		return c
	}
	history := func(asked int) []Call {
		return []Call{
			at(1, 2, Call{Kind: Report, Version: "7", Answer: Accepted}),
			at(3, 9, Call{Kind: Cancel, Answer: Accepted}),
			at(asked, asked+1, Call{Kind: Resume, By: "a", Answer: Refused}),
			at(30, 31, Call{Kind: Look, Seen: row{runbook.StateConflictPaused, "7", "", ""}}),
		}
	}
	require.True(t, legal(history(5), time.Unix(29, 0)))
	require.True(t, legal(history(8), time.Unix(29, 0)))
	require.False(t, legal(history(12), time.Unix(29, 0)), "it runs again")
}
