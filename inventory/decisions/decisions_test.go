package decisions_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/inventory/decisions"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

func TestADecisionIsRecordedOnceAndChecked(t *testing.T) {
	t.Parallel()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	d := decisions.Decisions{DB: store.DB()}
	in := runbook.DecisionInput{
		ID: "d1", Act: runbook.ActResume, OrgID: runbook.DefaultOrgID, Reason: "checked",
		Targets: []runbook.DecisionTarget{{Name: "web-7", Version: "7"}, {Name: "web-8"}},
	}
	want := runbook.DecisionRecord{ID: "d1", By: "alice", Identity: runbook.Authenticated}
	for range 2 {
		record, err := d.Record(t.Context(), in, "alice", runbook.Authenticated)
		require.NoError(t, err)
		require.Equal(t, want, record)
	}
	_, err = d.Record(t.Context(), in, "mallory", runbook.Authenticated)
	require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(err).Code, "the id is taken")

	claim := runbook.Claim{
		Act: runbook.ActResume, Target: runbook.DecisionTarget{Name: "web-7", Version: "7"}, By: "alice", Reason: "checked",
	}
	identity, err := d.Check(t.Context(), "d1", runbook.DefaultOrgID, claim)
	require.NoError(t, err)
	require.Equal(t, runbook.Authenticated, identity)
	for name, check := range map[string]func() error{
		"unknown": func() error { _, err := d.Check(t.Context(), "d2", runbook.DefaultOrgID, claim); return err },
		"another organisation": func() error {
			_, err := d.Check(t.Context(), "d1", "11111111-1111-1111-1111-111111111111", claim)
			return err
		},
		"another device": func() error {
			other := claim
			other.Target.Name = "web-9"
			_, err := d.Check(t.Context(), "d1", runbook.DefaultOrgID, other)
			return err
		},
	} {
		require.Equal(t, runbook.CodeNotDecided, runbook.AsRefusal(check()).Code, name)
	}

	whose, err := d.Whose(t.Context(), "d1", runbook.DefaultOrgID, runbook.ActResume, "web-8", "alice")
	require.NoError(t, err)
	require.Equal(t, runbook.Authenticated, whose)
	whose, err = d.Whose(t.Context(), "d1", runbook.DefaultOrgID, runbook.ActResume, "web-8", "mallory")
	require.NoError(t, err)
	require.Empty(t, whose)
}
