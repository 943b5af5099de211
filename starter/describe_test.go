package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"rollcall/runbook"
)

func TestDescribeADeviceThatThereIsNot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.run("describe", "device", "nosuch", "-o", "json")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `device "nosuch": not found`)
	require.Empty(t, o.stdout)
}

// TestDescribeSaysWhereTheSpecComesFrom has a device for each way in which owner, labels and fleets can fit or not.
func TestDescribeSaysWhereTheSpecComesFrom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.giveYAML(
		fleet("web", "fleet: web"), fleet("everywhere", "site: berlin"),
		"apiVersion: flightctl.io/v1beta1\nkind: Fleet\nmetadata: {name: nobody}\nspec: {template: {spec: {}}}\n",
		"apiVersion: flightctl.io/v1beta1\nkind: Fleet\nmetadata: {name: tests}\nspec: {selector: {matchExpressions: [{key: tier, operator: In, values: [test]}]}, template: {spec: {}}}\n",
		device{name: "fits", fleet: "web", labels: "fleet: web"}.document(),
		device{name: "moved", fleet: "web", labels: "fleet: other, site: berlin"}.document(),
		device{name: "orphan", fleet: "gone", labels: "fleet: gone"}.document(),
		device{name: "own"}.document(),
		device{name: "claimed", labels: "tier: test"}.document(),
	)
	cases := map[string]struct{ note, image string }{
		"fits":    {"Spec: the template of fleet web; its labels match the fleet's selector (fleet=web)\n", "registry.example.com/web:2"},
		"moved":   {"Spec: the template of fleet web, BUT its labels do not match the fleet's selector (fleet=web); they also match that of fleet everywhere\n", "registry.example.com/web:2"},
		"orphan":  {"Spec: fleet gone, which does not exist: shown is the device's own\n", "registry.example.com/os:1"},
		"own":     {"Spec: its own; no fleet owns it\n", "registry.example.com/os:1"},
		"claimed": {"Spec: its own; no fleet owns it, but its labels match the selector of fleet tests\n", "registry.example.com/os:1"},
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
	var r review
	b.run("describe", "device", "web-1", "-o", "json").json(t, &r)
	require.Equal(t, runbook.StateConflictPaused, r.State)
	require.Equal(t, []string{"5", "7", "8"}, []string{r.Restored, r.Reported, r.NextVersion})
	require.Equal(t, "first", r.RestoreID)
	require.Equal(t, "device/default/web-1", r.WorkflowID)
	require.NotNil(t, r.Since)
	require.NotNil(t, r.LastSeenBefore)
	require.Len(t, r.Timeline, 2)
	require.Equal(t, runbook.CodeVersionChanged, r.Timeline[1].Code)
	require.Equal(t, "mallory", r.Timeline[1].By)
	var same review
	require.NoError(t, yaml.Unmarshal([]byte(b.ok("describe", "device/web-1", "-o", "yaml")), &same))
	require.JSONEq(t, string(r.Spec), string(same.Spec))
	same.Spec = r.Spec
	require.Equal(t, r, same)

	require.Contains(t, r.Commands, "starter resume device web-1 --expect-version 7 --reason 'checked on site'")
	require.Equal(t, 0, b.run("resume", "device", "web-1", "--expect-version", r.Reported, "--reason", "checked on site").code)
}
