package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/invariants"
	"rollcall/inventory/plans"
	"rollcall/runbook"
	"rollcall/starter/review"
)

// planBench is a restore of three devices that are paused, and one that is back. A large share has to be confirmed.
func planBench(t *testing.T) *bench {
	t.Helper()
	b := newTemporalBench(t)
	b.confirmAbove = ""
	b.work()
	b.give(device{name: "web-1", version: "5", labels: "site: a"}, device{name: "web-2", version: "5", labels: "site: a"},
		device{name: "web-3", version: "5", labels: "site: b"}, device{name: "back", version: "5", labels: "site: b"})
	b.restored("night")
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		b.reported(name, "7", runbook.StateConflictPaused)
	}
	b.reported("back", "5", runbook.StateNormal)
	return b
}

// A plan is made, shown and carried out; exactly its devices are resumed, and each answers by name.
func TestAPlanIsMadeAndCarriedOut(t *testing.T) {
	t.Parallel()
	b := planBench(t)
	var set review.PlannedSet
	b.run("plan", "resume", "devices", "-l", "site=a", "--id", "p1", "--reason", "ticket 4711", "--as", "ann", "-o",
		"json").json(t, &set)
	require.Equal(t, "night", set.RestoreID)
	require.Len(t, set.Devices, 2)
	require.Equal(t, []review.PlannedGroup{{RestoredVersion: "5", ReportedVersion: "7", NextVersion: "8", Devices: 2}},
		set.Groups)
	require.Equal(t, runbook.StateConflictPaused, b.stateOf("web-1"), "a plan resumes no one")

	unconfirmed := b.run("resume", "--plan", "p1")
	require.Equal(t, 2, unconfirmed.code)
	require.Contains(t, unconfirmed.stderr, "--confirm 2")
	require.Contains(t, b.run("resume", "--plan", "p1", "--confirm", "3").stderr, "plan p1 holds 2 devices")

	b.ok("reconnect", "device", "web-2", "--rendered-version", "9")
	require.Eventually(t, func() bool { return b.reportedBy("web-2") == "9" }, 2*time.Minute, 20*time.Millisecond)
	done := b.run("resume", "--plan", "p1", "--confirm", "2", "--as", "bob", "-o", "json")
	require.Equal(t, 4, done.code, "one has moved: %s", done.stderr)
	var progress runbook.PlanProgress
	done.json(t, &progress)
	require.Equal(t, runbook.PlanCompleted, progress.State)
	require.EqualValues(t, 1, progress.Resumed())
	require.EqualValues(t, 1, progress.Refused)
	b.until("web-1", runbook.StateNormal)
	require.Equal(t, runbook.StateConflictPaused, b.stateOf("web-2"))
	require.Equal(t, runbook.StateConflictPaused, b.stateOf("web-3"), "the plan does not hold it")

	require.Regexp(t, `Acted +resume-plan p1 +<none> +bob \(asserted\)`, b.ok("get", "transitions", "--by", "bob"))
	shown := b.ok("plan", "show", "p1")
	require.Regexp(t, `web-2 +7 .*Refused \(VersionChanged\)`, shown)
	require.Contains(t, b.ok("plan", "list"), "p1")
	again := b.run("resume", "--plan", "p1", "--confirm", "2")
	require.Equal(t, 1, again.code)
	require.Contains(t, again.stderr, "plan p1 has ended (Completed)")
	rows, err := b.store.Transitions(t.Context(), runbook.DefaultOrgID, "web-1", 1)
	require.NoError(t, err)
	require.Equal(t, "bob", rows[0].Actor)
	require.Equal(t, "ticket 4711", rows[0].Reason, "the plan's reason counts where the decision gives none")
}

func (b *bench) stateOf(name string) (state runbook.State) {
	b.t.Helper()
	require.NoError(b.t,
		b.store.DB().GetContext(b.t.Context(), &state, `select state from rollcall.roll where name = $1`, name))
	return state
}

func (b *bench) reportedBy(name string) (version string) {
	b.t.Helper()
	require.NoError(b.t,
		b.store.DB().GetContext(b.t.Context(), &version,
			`select coalesce(reported_version, '') from rollcall.roll where name = $1`, name))
	return version
}

func TestPlanUsage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for want, args := range map[string][]string{
		"say which devices":                  {"plan", "resume", "devices"},
		"there is no plan nosuch":            {"plan", "show", "nosuch"},
		"use one of --plan":                  {"resume", "--plan", "a", "--abort", "b"},
		`waves "x" cannot be read`:           {"resume", "--plan", "a", "--waves", "x"},
		"nothing to plan: 0 devices matched": {"plan", "resume", "devices", "--all"},
	} {
		o := b.run(args...)
		require.NotZero(t, o.code, args)
		require.Contains(t, o.stderr, want)
		require.Empty(t, o.stdout)
	}
	require.Equal(t, 3, b.run("plan", "resume", "devices", "--all").code)
}

// A plan of one organisation is not shown, nor carried out, as another's.
func TestAPlanBelongsToItsOrganisation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.store.DB().ExecContext(t.Context(),
		`insert into organizations (id, display_name, external_id, created_at, updated_at)
		values ('00000000-0000-0000-0000-00000000000a', 'acme', 'acme', now(), now())`)
	require.NoError(t, err)
	require.NoError(t, plans.Plans{DB: b.store.DB()}.Create(t.Context(), plans.New{
		ID: "p", OrgID: runbook.DefaultOrgID, RestoreID: "night", By: "ann", ExpiresIn: time.Hour,
		Devices: []plans.Planned{{Name: "web-1"}},
	}))
	b.ok("plan", "show", "p")
	for _, args := range [][]string{{"plan", "show", "p"}, {"resume", "--plan", "p"}, {"resume", "--abort", "p"}} {
		o := b.run(append(args, "--org", "acme")...)
		require.Equal(t, 1, o.code, args)
		require.Contains(t, o.stderr, "there is no plan p in organisation acme")
	}
	require.NotContains(t, b.ok("plan", "list", "--org", "acme"), "ann")
}

// fsck finds a restore whose workflow is gone, says so with its own exit code, and takes it up again.
func TestFsckFindsAndRepairs(t *testing.T) {
	t.Parallel()
	b := planBench(t)
	require.Equal(t, "nothing is wrong\n", b.ok("fsck"))
	require.NoError(t, b.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("night"), "", "test"))
	var report fsckReport
	require.Eventually(t, func() bool {
		o := b.run("fsck", "--settle", "0", "-o", "json")
		o.json(t, &report)
		return o.code == 5 && len(report.Violations) > 0 && report.Violations[0].WorkflowID == "restore/night"
	}, 2*time.Minute, 100*time.Millisecond)
	require.Equal(t, invariants.WorkflowRuns, report.Violations[0].Invariant)
	repaired := b.ok("fsck", "--repair", "--settle", "20s")
	require.Contains(t, repaired, "restore night was taken up again")
	require.Contains(t, repaired, "nothing is wrong")
}
