package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// With a flag that says how to carry a plan out, a resume makes the plan as well.
func TestAResumeInWavesMakesItsPlan(t *testing.T) {
	t.Parallel()
	b := planBench(t)
	waves := []string{"resume", "devices", "-l", "site=a", "--waves", "1,100%", "--as", "bob", "--reason", "ticket 4711"}

	unconfirmed := b.run(waves...)
	require.Equal(t, 2, unconfirmed.code)
	require.Contains(t, unconfirmed.stderr, "holds 2 of the 4 devices of the roll: say that you know with --confirm 2")
	require.Equal(t, "[]\n", b.ok("plan", "list", "-o", "json"), "no plan is left behind")

	done := b.run(append(waves, "--confirm", "2", "--away-after", "0s", "-o", "json")...)
	var progress runbook.PlanProgress
	done.json(t, &progress)
	require.Equal(t, []any{0, runbook.PlanCompleted, "bob", 2},
		[]any{done.code, progress.State, progress.By, progress.Waves}, done.stderr)
	require.EqualValues(t, 2, progress.Resumed())
	require.Equal(t, runbook.StateConflictPaused, b.stateOf("web-3"), "it was not selected")
	require.Contains(t, b.ok("plan", "show", progress.PlanID), "started by bob (asserted): ticket 4711")
}

// The count of a large selection has to be said, and is asked for on a terminal. A wrong one changes nothing.
func TestALargeResumeIsConfirmed(t *testing.T) {
	t.Parallel()
	b := planBench(t)
	all := []string{"resume", "devices", "--all"}
	script := b.run(all...)
	require.Equal(t, 2, script.code)
	require.Contains(t, script.stderr,
		"the selection holds 3 of the 4 devices of the roll: say that you know with --confirm 3")
	b.ok("resume", "device", "web-2") // who names a device knows how many that is
	b.terminal = true
	for _, typed := range []string{"3\n", "yes\n", ""} {
		o := b.runWith(t.Context(), typed, all...)
		require.Equal(t, 2, o.code, typed)
		require.Contains(t, o.stderr, "the selection holds 2 of the 4 devices of the roll. Type their count to go on: ")
	}
	require.Equal(t, 2, b.run(append(all, "--confirm", "4")...).code)
	require.Contains(t, b.ok(append(all, "--dry-run")...), "2 would be resumed")
	require.Equal(t, runbook.StateConflictPaused, b.stateOf("web-1"))
	require.Contains(t, b.runWith(t.Context(), "2\n", all...).stdout, "2 resumed")
	b.until("web-1", runbook.StateNormal)
}

// A flag that a plan would ignore is an error, above all one that says to change nothing.
func TestAPlanIgnoresNoFlag(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for line, want := range map[string]string{
		"resume --plan p --dry-run":                              "--dry-run does not go with a plan",
		"resume --plan p --all":                                  "--all does not go with a plan",
		"resume --plan p -l a=b":                                 "--selector does not go with a plan",
		"resume --abort p --field-selector metadata.name=a":      "--field-selector does not go with a plan",
		"resume --plan p --expect-version 7":                     "--expect-version does not go with a plan",
		"resume --plan p --request-id x":                         "--request-id does not go with a plan",
		"resume --continue p --waves 5":                          "--waves does not go with --continue",
		"resume --retry-failed p --confirm 5":                    "--confirm does not go with --retry-failed",
		"resume --abort p --continue p":                          "use one of --plan",
		"resume device a --expect-version 7 --soak 1m":           "does not go with a plan, which --soak makes",
		"resume device a --request-id x --waves 1":               "does not go with a plan, which --waves makes",
		"resume devices --all --waves x":                         `waves "x" cannot be read`,
		"resume devices --all --max-failures -1 --as alice":      "maxFailures is -1",
		"resume devices --all --per-site site --as alice --all":  `per-site "site" cannot be read`,
		"resume devices -l a=b --detach --as= --reason checking": "--as is empty",
	} {
		o := b.run(strings.Fields(line)...)
		require.Equal(t, 2, o.code, "%s: %s", line, o.stderr)
		require.Contains(t, o.stderr, want, line)
	}
}

// A person who stops watching, and one whose worker is away, are told how it stands.
func TestAPlanGoesOnWithoutItsTerminal(t *testing.T) {
	t.Parallel()
	b := planBench(t)
	b.ok("plan", "resume", "device", "web-1", "web-3", "--id", "p")
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan outcome, 1)
	go func() {
		left <- b.runWith(ctx, "", "resume", "--plan", "p", "--confirm", "2", "--waves", "1,100%", "--as", "ann")
	}()
	b.until("web-1", runbook.StateNormal)
	leave()
	o := <-left
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "stopped watching; plan p goes on: see `starter plan show p`")
	require.NotContains(t, o.stderr, "cannot be understood")

	var progress runbook.PlanProgress
	b.run("resume", "--abort", "p", "--as", "bob", "--reason", "enough", "--request-id", "one", "-o", "json").json(t,
		&progress)
	require.Equal(t, "p", progress.PlanID)
	require.Eventually(t, func() bool {
		return strings.Contains(b.ok("plan", "show", "p"), "ended by bob: enough")
	}, 2*time.Minute, 20*time.Millisecond)
	require.Equal(t, runbook.StateConflictPaused, b.stateOf("web-3"), "it was not asked")
}

func TestAPlanWithoutAWorkerIsNotStarted(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	stop := b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("night")
	b.reported("web-1", "7", runbook.StateConflictPaused)
	b.ok("plan", "resume", "devices", "--all", "--id", "p")
	stop()
	b.queue += "-of-no-one"
	for _, args := range [][]string{{"--plan", "p", "--confirm", "1"}, {"--abort", "p"}} {
		o := b.run(append([]string{"resume"}, args...)...)
		require.Equal(t, 1, o.code)
		require.Contains(t, o.stderr, "no worker polls task queue")
	}
	require.Contains(t, b.ok("plan", "show", "p"), "planned, to be started until")
}

// What `plan resume` says to type can be typed.
func TestAPlanSaysHowItIsCarriedOut(t *testing.T) {
	t.Parallel()
	b := planBench(t)
	planned := b.ok("plan", "resume", "devices", "--all", "--id", "p")
	require.Contains(t, planned, "what would change:\n  3 devices: ")
	_, command, found := strings.Cut(planned, "resume them: starter ")
	require.True(t, found, planned)
	require.Equal(t, "resume --plan p --confirm 3 --reason 'checked on site'\n", command)
	resumed := b.ok("resume", "--plan", "p", "--confirm", "3", "--reason", "checked on site")
	require.Contains(t, resumed, "plan p: completed")
	o := b.run("plan", "resume", "device", "web-1", "nosuch")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `device "nosuch": not found`)
}
