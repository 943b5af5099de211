package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/review"
)

func TestDescribeADeviceThatThereIsNot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.run("describe", "device", "nosuch", "-o", "json")
	require.Equal(t, 1, o.code)
	require.JSONEq(t, `{"error": "device \"nosuch\": not found in organisation default", "exitCode": 1}`, o.stderr)
	require.Empty(t, o.stdout)
}

// TestDescribeSaysWhereTheSpecComesFrom has a device for each way in which owner, labels and fleets can fit or not.
func TestDescribeSaysWhereTheSpecComesFrom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.giveYAML(
		fleet("web", "fleet: web"), fleet("everywhere", "site: berlin"),
		"apiVersion: flightctl.io/v1beta1\nkind: Fleet\nmetadata: {name: unused}\nspec: {template: {spec: {}}}\n",
		"apiVersion: flightctl.io/v1beta1\nkind: Fleet\nmetadata: {name: tests}\nspec: {selector: {matchExpressions: "+
			"[{key: tier, operator: In, values: [test]}]}, template: {spec: {}}}\n",
		device{name: "fits", fleet: "web", labels: "fleet: web"}.document(),
		device{name: "moved", fleet: "web", labels: "fleet: other, site: berlin"}.document(),
		device{name: "orphan", fleet: "gone", labels: "fleet: gone"}.document(),
		device{name: "own"}.document(),
		device{name: "claimed", labels: "tier: test"}.document(),
	)
	cases := map[string]struct{ note, image string }{
		"fits": {
			"Spec: the template of fleet web; its labels match the fleet's selector (fleet=web)\n",
			"registry.example.com/web:2",
		},
		"moved": {"Spec: the template of fleet web, BUT its labels do not match the fleet's selector (fleet=web); they " +
			"also match that of fleet everywhere\n", "registry.example.com/web:2"},
		"orphan": {"Spec: fleet gone, which does not exist: shown is the device's own\n", "registry.example.com/os:1"},
		"own":    {"Spec: its own; no fleet owns it\n", "registry.example.com/os:1"},
		"claimed": {
			"Spec: its own; no fleet owns it, but its labels match the selector of fleet tests\n",
			"registry.example.com/os:1",
		},
	}
	for name, c := range cases {
		out := b.ok("describe", "device", name)
		require.Contains(t, out, c.note, name)
		require.Contains(t, out, "    image: "+c.image+"\n", name)
	}
}

func TestDescribeForScripts(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	require.Equal(t, 4, b.run("resume", "device", "web-1", "--expect-version", "6", "--as", "mallory").code)
	var r review.Review
	b.run("describe", "device", "web-1", "-o", "json").json(t, &r)
	require.Equal(t, runbook.StateConflictPaused, r.State)
	require.Equal(t, []string{"5", "7", "5", "8"}, []string{r.Restored, r.Reported, r.Rendered, r.NextVersion})
	require.Equal(t, "first", r.RestoreID)
	require.Equal(t, "device/default/web-1", r.WorkflowID)
	require.NotNil(t, r.Since)
	require.NotNil(t, r.LastSeenBefore)
	require.Equal(t, []runbook.Transition{runbook.T1, runbook.T3, runbook.Refused}, transitions(r.Timeline),
		"from the audit, each once")
	require.Equal(t, runbook.CodeVersionChanged, r.Timeline[2].Code)
	require.Equal(t, "mallory", r.Timeline[2].By)
	var same review.Review
	require.NoError(t, yaml.Unmarshal([]byte(b.ok("describe", "device/web-1", "-o", "yaml")), &same))
	require.JSONEq(t, string(r.Spec), string(same.Spec))
	same.Spec = r.Spec
	require.Equal(t, r, same)

	require.Contains(t, r.Commands, "starter resume device web-1 --expect-version 7 --reason 'checked on site'")
	require.Equal(t, 0, b.run("resume", "device", "web-1", "--expect-version", r.Reported, "--reason",
		"checked on site").code)
}

// transitions are what the lines of a story did.
func transitions(story []review.Entry) []runbook.Transition {
	did := make([]runbook.Transition, len(story))
	for i, e := range story {
		did[i] = e.Transition
	}
	return did
}

// described reads what describe says of a device.
func (b *bench) described(name string) (r review.Review) {
	b.t.Helper()
	b.run("describe", "device", name, "-o", "json").json(b.t, &r)
	return r
}

// The three versions are of three moments, and the two times that the device was seen are, too.
func TestDescribeKeepsVersionsAndTimesApart(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "6"}, device{name: "web-2", version: "6"})
	before := b.described("web-1")
	require.Nil(t, before.LastSeenBefore)
	require.NotNil(t, before.LastSeen)
	require.NotContains(t, b.ok("describe", "device", "web-1"), "restored", "no restore has found it")
	b.restored("first")
	b.reported("web-1", "8", runbook.StateConflictPaused)
	b.ok("resume", "device", "web-1")
	// Rendering has moved the annotation on, and the agent has reported what was rendered.
	_, err := b.store.DB().ExecContext(t.Context(), `
update devices set annotations = annotations || '{"device-controller/renderedVersion": "9"}',
    status = jsonb_set(status, '{config,renderedVersion}', '"9"') where name = 'web-1'`)
	require.NoError(t, err)
	_, err = b.store.DB().ExecContext(t.Context(), `update device_timestamps set last_seen = now() where name = 'web-1'`)
	require.NoError(t, err)
	b.ok("reconnect", "device", "web-2", "--rendered-version", "5")
	for range 2 { // while the restore runs, and after
		r := b.described("web-1")
		require.Equal(t, []string{"6", "9", "9"}, []string{r.Restored, r.Reported, r.Rendered})
		require.NotNil(t, r.LastSeenBefore)
		require.NotNil(t, r.LastSeen)
		require.Equal(t, "first", r.RestoreID)
		require.NotContains(t, r.Commands, "withdraw")
		text := b.ok("describe", "device", "web-1")
		require.Contains(t, text, "restored 6, reported 9, rendered 9")
		require.Regexp(t, `Last seen: .* ago before the restore, .* ago since`, text)
		require.Eventually(t, func() bool { return b.tally("first").State == runbook.RestoreCompleted }, time.Minute,
			50*time.Millisecond)
	}
}

// Whatever became of the workflow, the audit has the story, and the next command fits.
func TestDescribeTellsTheStoryOfACancelledRestore(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	_, err := b.store.DB().ExecContext(t.Context(),
		`update devices set annotations = annotations || '{"device-controller/renderedVersion": "v5"}' where name = 'web-4'`)
	require.NoError(t, err)
	want := []runbook.Transition{runbook.T1, runbook.T3}
	require.Equal(t, want, transitions(b.described("web-1").Timeline))
	b.ok("cancel", "first", "--reason", "wrong backup")
	r := b.described("web-1")
	require.Equal(t, want, transitions(r.Timeline))
	require.Equal(t, runbook.RestoreCancelled, r.RestoreState)
	require.Contains(t, r.Unresumable, "no restore runs that has it on its roll")
	require.Equal(t, []string{"starter restore --id first"}, r.Commands)
	b.ok(strings.Fields(r.Commands[0])[1:]...)
	require.Equal(t, want, transitions(b.described("web-1").Timeline),
		"the workflow of the run that took it up adds nothing twice")
	require.Contains(t, b.described("web-1").Commands, "starter diff device web-1")

	// A newer restore with nothing of it is no reason to take up the older.
	b.ok("restore", "--id", "second", "--supersede")
	b.until("web-1", runbook.StateAwaitingReconnect)
	b.ok("cancel", "second", "--reason", "x")
	require.Equal(t, []string{"starter restore --id second"}, b.described("web-1").Commands)
	require.Equal(t, append(want, runbook.T1), transitions(b.described("web-1").Timeline))
	require.Contains(t, b.ok("describe", "device", "web-1"), "RESTORE\n", "the restores are told apart")

	// What cannot be read is not advised.
	b.ok("restore", "--id", "second")
	b.until("web-4", runbook.StateAwaitingReconnect)
	for _, command := range b.described("web-4").Commands {
		require.NotContains(t, command, "reconnect")
	}
}

func TestDescribeByAlias(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(device{name: "web-1", labels: "alias: pump"}, device{name: "web-2", labels: "alias: web-1"},
		device{name: "web-3", labels: "alias: twin"},
		device{name: "web-4", labels: "alias: twin"})
	require.Contains(t, b.ok("describe", "device", "pump"), "Name:       web-1\nAlias:      pump\n")
	require.Equal(t, "web-1", b.described("web-1").Name, "a name goes before an alias")
	o := b.run("describe", "device", "twin")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `several devices have the alias "twin": name one of web-3, web-4`)
}

func TestDescribeOtherKinds(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.giveYAML(fleet("web", "fleet: web"),
		device{name: "web-1", version: "5", fleet: "web", labels: "fleet: web"}.document(),
		device{name: "web-2", version: "5", fleet: "web", labels: "fleet: web"}.document(),
		yamlRequest(t, "er-1", ", labels: {site: berlin}, knownRenderedVersion: \"7\""))
	b.restored("first")
	b.reported("web-1", "7", runbook.StateConflictPaused)

	text := b.ok("describe", "fleet", "web")
	require.Contains(t, text, "Devices:    1 AwaitingReconnect, 1 ConflictPaused\n")
	require.Contains(t, text, "image: registry.example.com/web:2")
	var f review.Fleet
	b.run("describe", "fleet/web", "-o", "json").json(t, &f)
	require.Contains(t, f.Commands, "starter resume devices --field-selector=metadata.owner=Fleet/web --dry-run")
	require.Contains(t, b.ok("resume", "devices", "--field-selector=metadata.owner=Fleet/web", "--dry-run"),
		"device/web-1: would be resumed")

	text = b.ok("describe", "er", "er-1")
	require.Contains(t, text, "State:      Pending\n")
	require.Contains(t, text, "Asks for:   site=berlin\nVersion:    7\n")
	require.Contains(t, text, "Approval:   AwaitingReconnect\n")
	require.Contains(t, text, "starter approve enrollmentrequest er-1")
	b.ok("approve", "er/er-1", "--as", "alice")
	text = b.ok("describe", "er/er-1")
	require.Contains(t, text, "State:      Approved by alice\n")
	require.NotContains(t, text, "starter approve")
	require.Contains(t, text, "starter describe device er-1")
	require.Contains(t, text, "approve")

	text = b.ok("describe", "restore", "first")
	require.Contains(t, text, "restore first: Running")
	require.Contains(t, text, "--field-selector=status.summary.status=ConflictPaused")
	b.ok("cancel", "first", "--reason", "x")
	require.Contains(t, b.ok("describe", "restore/first"), "  starter restore --id first\n")

	for _, kind := range []string{"fleet", "enrollmentrequest", "restore"} {
		o := b.run("describe", kind, "nosuch")
		require.Equal(t, 1, o.code)
		require.Contains(t, o.stderr, "nosuch")
	}
}

// A device's workflow that was cancelled in the web UI is started again, and shows the story there as well.
func TestAWorkflowThatIsStartedAgainShowsTheStory(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	id := runbook.DeviceWorkflowID(runbook.DefaultOrgID, "web-1")
	first, err := b.client.DescribeWorkflowExecution(t.Context(), id, "")
	require.NoError(t, err)
	require.NoError(t, b.client.CancelWorkflow(t.Context(), id, ""))
	require.Eventually(t, func() bool {
		now, err := b.client.DescribeWorkflowExecution(t.Context(), id, "")
		again := err == nil && now.GetWorkflowExecutionInfo().GetExecution().GetRunId() !=
			first.GetWorkflowExecutionInfo().GetExecution().GetRunId()
		var status runbook.DeviceStatus
		return again && ask.Query(t.Context(), b.client, id, runbook.QueryState, &status) == nil &&
			len(status.Timeline) == 1 && status.Timeline[0].Transition == runbook.T3
	}, time.Minute, 100*time.Millisecond)
	require.Equal(t, []runbook.Transition{runbook.T1, runbook.T3}, transitions(b.described("web-1").Timeline))
}
