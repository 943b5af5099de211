package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// What was accepted between the copy and its return is lost. The audit names it, or the harness says what is missing.
func TestWhatWasAcceptedAndLostIsToBeNamed(t *testing.T) {
	t.Parallel()
	at := func(kind Kind, by string, second int) Call {
		start := time.Unix(int64(second), 0)
		return Call{
			OrgID: runbook.DefaultOrgID, Device: "d", Kind: kind, By: by, Answer: Accepted, Start: start,
			End: start.Add(time.Second / 2),
		}
	}
	ofRequest := func(c Call) Call {
		c.Request, c.Found.State = true, runbook.EnrollmentPending
		return c
	}
	entry := namedLost{OrgID: runbook.DefaultOrgID, Name: "d", Actor: "a", Signal: "Resumed", Message: "as Resumed"}
	approval := namedLost{OrgID: runbook.DefaultOrgID, Name: "d", Actor: "a", Signal: "approve"}
	left := string(runbook.OutcomeWithdrawn)
	withdrawn := namedLost{OrgID: runbook.DefaultOrgID, Name: "d", Signal: left, Message: "left as " + left}
	unknown := at(Resume, "a", 3)
	unknown.Answer = Unknown
	saved, putBack := at(Save, "", 1), at(PutBack, "", 5)
	absent, paused := ofRequest(saved), saved
	absent.Found.State = ""
	paused.Seen.State = runbook.StateConflictPaused
	for name, test := range map[string]struct {
		calls   []Call
		entries []namedLost
		missing int
	}{
		"named":                    {[]Call{saved, at(Resume, "a", 3), putBack}, []namedLost{entry}, 0},
		"not named":                {[]Call{saved, at(Resume, "a", 3), putBack}, nil, 1},
		"another is named":         {[]Call{saved, at(Resume, "b", 3), putBack}, []namedLost{entry}, 1},
		"saved with it":            {[]Call{at(Resume, "a", 0), saved, putBack}, nil, 0},
		"after":                    {[]Call{saved, putBack, at(Resume, "a", 7)}, nil, 0},
		"not put back":             {[]Call{saved, at(Resume, "a", 3)}, nil, 0},
		"it may not have happened": {[]Call{saved, unknown, putBack}, nil, 0},
		"a report":                 {[]Call{saved, at(Report, "a", 3), putBack}, []namedLost{entry}, 0},
		"a report is not named":    {[]Call{saved, at(Report, "a", 3), putBack}, nil, 1},
		"a newer report":           {[]Call{paused, at(Report, "a", 3), putBack}, nil, 0},
		"a withdrawal":             {[]Call{saved, at(Withdraw, "a", 3), putBack}, []namedLost{withdrawn}, 0},
		"a withdrawal, not named":  {[]Call{saved, at(Withdraw, "a", 3), putBack}, []namedLost{entry}, 1},
		"Temporal has forgotten it": {
			[]Call{saved, at(Resume, "a", 2), at(Forget, "", 3), at(Resume, "b", 4), putBack}, nil, 1,
		},
		"the copy was put back before": {
			[]Call{saved, at(Resume, "a", 3), putBack, at(Save, "", 6), at(PutBack, "", 8)}, nil, 0,
		},
		"an approval": {
			[]Call{ofRequest(saved), ofRequest(at(Approve, "a", 3)), ofRequest(putBack)}, []namedLost{approval}, 0,
		},
		"a denial in the place of an approval": {
			[]Call{ofRequest(saved), ofRequest(at(Deny, "a", 3)), ofRequest(putBack)}, []namedLost{approval}, 1,
		},
		"an approval is not named": {
			[]Call{ofRequest(saved), ofRequest(at(Approve, "a", 3)), ofRequest(putBack)}, nil, 1,
		},
		"of a request that is lost": {[]Call{absent, ofRequest(at(Approve, "a", 3)), ofRequest(putBack)}, nil, 1},
		"of a request that is decided again": {
			[]Call{ofRequest(saved), ofRequest(at(Deny, "a", 3)), ofRequest(putBack), ofRequest(at(Approve, "b", 7))}, nil, 1,
		},
		"its device is named, and not the approval": {
			[]Call{ofRequest(saved), ofRequest(at(Approve, "a", 3)), ofRequest(putBack)}, []namedLost{entry}, 1,
		},
	} {
		require.Len(t, unnamed(test.calls, test.entries), test.missing, name)
	}
}

// Before a roll is made nothing counts that is reported, nor while a roll is lost that was made before.
func TestCallsWithoutARoll(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	o := organisation{id: "a"}
	r := &run{unrolled: []unrolled{{orgID: "a", first: at(2), lost: at(5)}, {orgID: "a", first: at(8), lost: at(9)}}}
	for second, want := range map[int]bool{1: true, 3: false, 4: true, 6: true, 8: false} {
		c := Call{Start: at(second), End: at(second).Add(time.Second)}
		require.Equal(t, want, r.isUnrolled(o, c, at(7)), "%d s", second)
	}
	require.True(t, (&run{}).isUnrolled(o, Call{Start: at(6)}, at(7)))
}
