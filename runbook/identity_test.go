package runbook_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestTheServersCallerIsWhoDecides(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		caller, as, by string
		who            string
		identity       runbook.Identity
		code           runbook.Code
	}{
		"the caller":                   {"alice", "", "root", "alice", runbook.Authenticated, ""},
		"who says so too":              {"alice", "alice", "root", "alice", runbook.Authenticated, ""},
		"who says to be another":       {"alice", "bob", "root", "alice", runbook.Authenticated, runbook.CodeNotYou},
		"no caller is known":           {"", "bob", "root", "bob", runbook.Asserted, ""},
		"only the account is known":    {"", "", "root", "root", runbook.Asserted, ""},
		"nothing is known":             {"", "", "", "", "", ""},
		"an account is no other claim": {"alice", "", "bob", "alice", runbook.Authenticated, ""},
	} {
		who, identity, err := runbook.Decider(tc.caller, tc.as, tc.by)
		require.Equal(t, tc.who, who, name)
		require.Equal(t, tc.identity, identity, name)
		if tc.code == "" {
			require.NoError(t, err, name)
			continue
		}
		require.Equal(t, tc.code, runbook.AsRefusal(err).Code, name)
	}
}

func TestADecisionAllowsWhatItSays(t *testing.T) {
	t.Parallel()
	decision := runbook.DecisionInput{ID: "d1", Act: runbook.ActResume, By: "alice", Reason: "checked", Details: "{}"}
	target := &runbook.DecisionTarget{Name: "web-7", Version: "7"}
	claim := runbook.Claim{Act: runbook.ActResume, Target: *target, By: "alice", Reason: "checked", Details: "{}"}
	require.NoError(t, decision.Allows(claim, target, time.Minute))
	for name, change := range map[string]func(c *runbook.Claim){
		"another act":     func(c *runbook.Claim) { c.Act = runbook.ActWithdraw },
		"another version": func(c *runbook.Claim) { c.Target.Version = "8" },
		"another person":  func(c *runbook.Claim) { c.By = "bob" },
		"another reason":  func(c *runbook.Claim) { c.Reason = "" },
		"other details":   func(c *runbook.Claim) { c.Details = "" },
	} {
		other := claim
		change(&other)
		require.Equal(t, runbook.CodeNotDecided, runbook.AsRefusal(decision.Allows(other, target, time.Minute)).Code, name)
	}
	require.Error(t, decision.Allows(claim, nil, time.Minute), "another device")
	require.Error(t, decision.Allows(claim, target, runbook.DecisionLife+time.Second), "an old decision")
}

func TestThroughWhatAMessageCame(t *testing.T) {
	t.Parallel()
	require.Equal(t, runbook.ViaUpdate, runbook.ViaOf("update/x", runbook.Origin{}))
	require.Equal(t, runbook.ViaPlan, runbook.ViaOf("update/plan/x", runbook.Origin{}))
	require.Equal(t, runbook.ViaPlan, runbook.ViaOf("update/plan-again/2/x", runbook.Origin{}))
	require.Equal(t, runbook.ViaSignal, runbook.ViaOf("signal/run/resume/1", runbook.Origin{}))
	require.Equal(t, runbook.ViaCLI, runbook.ViaOf("signal/run/resume/1", runbook.Origin{Via: runbook.ViaCLI}))
	require.Equal(t, runbook.ViaCLI, runbook.ViaOf("update/x", runbook.Origin{Decision: "d1"}))
	require.Empty(t, runbook.ViaOf("", runbook.Origin{}))
}

func TestAReportIsTheAgentsOrAPersons(t *testing.T) {
	t.Parallel()
	for _, right := range []runbook.ReconnectSignal{
		{RenderedVersion: "7"}, {RenderedVersion: "7", Agent: true}, {RenderedVersion: "7", By: "alice", Reason: "read it"},
	} {
		require.NoError(t, right.Check())
	}
	for _, wrong := range []runbook.ReconnectSignal{
		{RenderedVersion: "7", Agent: true, By: "alice"},
		{RenderedVersion: "7", By: runbook.ActorAgent},
		{RenderedVersion: "7", Agent: true, Origin: runbook.Origin{Decision: "d1"}},
		{RenderedVersion: "7", Origin: runbook.Origin{Via: "update"}},
		{RenderedVersion: "7", By: "a\x00b"},
	} {
		require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(wrong.Check()).Code, "%+v", wrong)
	}
}

func TestADecisionThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	right := runbook.DecisionInput{
		ID: "d1", Act: runbook.ActResume, OrgID: runbook.DefaultOrgID, Targets: []runbook.DecisionTarget{{Name: "web-7"}},
	}
	require.NoError(t, right.Check())
	for name, change := range map[string]func(in *runbook.DecisionInput){
		"no id":           func(in *runbook.DecisionInput) { in.ID = "" },
		"no organisation": func(in *runbook.DecisionInput) { in.OrgID = "" },
		"an unknown act":  func(in *runbook.DecisionInput) { in.Act = "erase" },
		"a restore":       func(in *runbook.DecisionInput) { in.Act = runbook.ActRestore },
		"no target":       func(in *runbook.DecisionInput) { in.Targets = nil },
		"a nameless one":  func(in *runbook.DecisionInput) { in.Targets = []runbook.DecisionTarget{{}} },
		"too many targets": func(in *runbook.DecisionInput) {
			in.Targets = make([]runbook.DecisionTarget, runbook.MaxDecisionTargets+1)
		},
		"a NUL": func(in *runbook.DecisionInput) { in.Reason = "\x00" },
	} {
		in := right
		change(&in)
		require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(in.Check()).Code, name)
	}
}
