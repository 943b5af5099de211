package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"rollcall/inventory"
)

// threeDevices are what most tests of reading look at.
func threeDevices(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.give(
		device{name: "web-1", version: "5", fleet: "web", labels: "environment: production, alias: front"},
		device{name: "web-2", version: "9", fleet: "web", labels: "environment: test"},
		device{name: "pump-1"},
	)
	return b
}

func TestGetDevicesPrintsADeviceList(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	var list struct {
		APIVersion string
		Kind       string
		Metadata   map[string]any
		Items      []inventory.Resource
	}
	require.NoError(t, json.Unmarshal([]byte(b.ok("get", "devices", "-o", "json")), &list))
	require.Equal(t, "flightctl.io/v1beta1", list.APIVersion)
	require.Equal(t, "DeviceList", list.Kind)
	require.NotNil(t, list.Metadata)
	require.Len(t, list.Items, 3)
	require.Equal(t, "pump-1", list.Items[0].Metadata.Name)

	require.NoError(t, yaml.Unmarshal([]byte(b.ok("get", "devices", "web-2", "web-1", "-o", "yaml")), &list))
	require.Equal(t, "DeviceList", list.Kind, "two names are a list")
	require.Len(t, list.Items, 2)

	require.NoError(t, json.Unmarshal([]byte(b.ok("get", "devices", "-l", "environment=nowhere", "-o", "json")), &list))
	require.NotNil(t, list.Items, "nothing is an empty list, not null")
	require.Empty(t, list.Items)
}

type countedWrites int

func (n *countedWrites) Write(p []byte) (int, error) { *n++; return len(p), nil }

// Each write is a call of the system, of which a table takes two for each of its cells where nothing gathers them.
func TestTextIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	for _, args := range []string{"get devices", "get devices -o wide", "get devices -o name", "describe device web-1"} {
		var writes countedWrites
		code := Execute(t.Context(), testIO(&writes, io.Discard, map[string]string{envDatabaseURL: b.url}), strings.Fields(args))
		require.Zero(t, code, args)
		require.EqualValues(t, 1, writes, args)
	}
}

func TestGetOneNamePrintsTheDeviceItself(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	for _, line := range []string{"get device web-1 -o json", "get devices web-1 -o json", "get device/web-1 -o json", "get dev/web-1 -o yaml", "get devices/web-1 web-1 -o yaml"} {
		o := b.run(strings.Fields(line)...)
		if line == "get devices/web-1 web-1 -o yaml" {
			require.Equal(t, 2, o.code, "mixed forms")
			continue
		}
		require.Equal(t, 0, o.code, o.stderr)
		var d inventory.Resource
		require.NoError(t, yaml.Unmarshal([]byte(o.stdout), &d), line)
		require.Equal(t, "Device", d.Kind, line)
		require.Equal(t, "web-1", d.Metadata.Name, line)
		require.Equal(t, "Fleet/web", d.Metadata.Owner, line)
		require.Contains(t, string(d.Status), "2026-01-02T03:04:05Z", line)
	}
}

func TestGetTellsWhichNamesThereAreNot(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	o := b.run("get", "devices", "web-1", "web-9", "web-8")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stdout, "web-1", "those that there are, are shown")
	require.Contains(t, o.stderr, `device "web-9": not found`)
	require.Contains(t, o.stderr, `device "web-8": not found`)

	o = b.run("get", "device", "web-9", "-o", "json")
	require.Equal(t, 1, o.code)
	require.Empty(t, o.stdout)
	o = b.run("get", "devices", "web-9", "web-1", "-o", "json")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stdout, `"DeviceList"`)
	o = b.run("get", "device", "web-2", "-l", "environment=production")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "none that the selector selects")
}

func TestGetSelects(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	cases := map[string]string{
		"get devices -o name":                                                      "device/pump-1\ndevice/web-1\ndevice/web-2\n",
		"get devices -l environment=production -o name":                            "device/web-1\n",
		"get devices --selector environment!=production -o name":                   "device/pump-1\ndevice/web-2\n",
		"get devices --field-selector=metadata.owner=Fleet/web -o name":            "device/web-1\ndevice/web-2\n",
		"get devices --field-selector=status.summary.status=Online -o name":        "device/pump-1\ndevice/web-1\ndevice/web-2\n",
		"get devices --field-selector=status.summary.status!=Online -o name":       "",
		"get devices -l environment --field-selector metadata.name!=web-1 -o name": "device/web-2\n",
		"get devices --limit 2 -o name":                                            "device/pump-1\ndevice/web-1\n",
		"get devices web-1 web-2 --limit 1 -o name":                                "device/web-1\n",
		"get devices --org default -o name":                                        "device/pump-1\ndevice/web-1\ndevice/web-2\n",
	}
	for line, want := range cases {
		require.Equal(t, want, b.ok(strings.Fields(line)...), line)
	}
	o := b.run("get", "devices", "-l", "environment=nowhere")
	require.Equal(t, 0, o.code)
	require.Empty(t, o.stdout)
	require.Contains(t, o.stderr, "no devices found")
}

func TestGetTables(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	b.giveYAML(fleet("web", "environment: production"))
	table := b.ok("get", "devices")
	require.Regexp(t, `(?m)^NAME +ALIAS +OWNER +SYSTEM +UPDATED +APPLICATIONS +LAST SEEN$`, table)
	require.Regexp(t, `(?m)^web-1 +front +Fleet/web +Online .* ago$`, table)
	require.Regexp(t, `(?m)^pump-1 +<none> +<none> +Online`, table)
	wide := b.ok("get", "devices", "-o", "wide")
	require.Regexp(t, `(?m)LAST SEEN +RENDERED +REPORTED +RESTORE +LABELS$`, wide)
	require.Regexp(t, `(?m)^web-2 .* 9 +<none> +<none> +environment=test$`, wide)
	require.Regexp(t, `(?m)^web +<none> +environment=production +Unknown$`, b.ok("get", "fleets"))
	require.Equal(t, "fleet/web\n", b.ok("get", "flt", "-o", "name"))
}

func TestGetEnrollmentRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	request := func(name, more string) string {
		return "apiVersion: flightctl.io/v1beta1\nkind: EnrollmentRequest\nmetadata:\n  name: " + name + "\n" + more
	}
	b.giveYAML(
		request("er-1", "spec: {csr: x, knownRenderedVersion: \"8\"}\n"),
		request("er-2", "spec: {csr: x}\nstatus: {approval: {approved: true, approvedBy: alice, labels: {site: berlin}}}\n"),
		request("er-3", "spec: {csr: x}\nstatus: {approval: {approved: false, approvedBy: bob}}\n"),
	)
	table := b.ok("get", "enrollmentrequests", "-o", "wide")
	require.Regexp(t, `(?m)^er-1 +Pending +<none> +<none> +unknown +8 +false$`, table)
	require.Regexp(t, `(?m)^er-2 +Approved +alice +site=berlin +unknown +<none> +false$`, table)
	require.Regexp(t, `(?m)^er-3 +Denied +bob`, table)
	require.Contains(t, b.ok("get", "er", "-o", "json"), `"EnrollmentRequestList"`)
	require.Contains(t, b.ok("get", "er/er-1", "-o", "json"), `"kind": "EnrollmentRequest"`)
}

func TestGetKeepsEveryDigitAndFieldOfWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const big = "123456789012345678901234567890"
	b.giveYAML("{apiVersion: flightctl.io/v1beta1, kind: Device, metadata: {name: web-1}, " +
		"spec: {counter: " + big + ", ratio: 1.50, text: \"0x10\", yes: \"yes\", multi: \"a\\nb\\n\", empty: {}, list: [], nothing: null}}\n")
	for _, format := range []string{"json", "yaml"} {
		out := b.ok("get", "device", "web-1", "-o", format)
		require.Contains(t, out, big, format)
		require.Contains(t, out, "1.50", format)
		var d inventory.Resource
		require.NoError(t, yaml.Unmarshal([]byte(out), &d), format)
		var spec map[string]any
		require.NoError(t, json.Unmarshal(d.Spec, &spec))
		require.Equal(t, "0x10", spec["text"], "%s: a text stays a text", format)
		require.Equal(t, "yes", spec["yes"], format)
		require.Equal(t, "a\nb\n", spec["multi"], format)
		require.Equal(t, map[string]any{}, spec["empty"], format)
		require.Equal(t, []any{}, spec["list"], format)
		require.Contains(t, spec, "nothing", format)
	}
	again := newBench(t)
	again.giveYAML(b.ok("get", "devices", "-o", "yaml"))
	require.Contains(t, again.ok("get", "device", "web-1", "-o", "json"), big, "what get prints, import takes")
}

func TestGetInAnOrganisation(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	o := b.runWith(t.Context(), device{name: "acme-1"}.document(), "import", "-f", "-", "--org", "Acme", "--create-org")
	require.Equal(t, 0, o.code, o.stderr)
	require.Equal(t, "device/acme-1\n", b.ok("get", "devices", "--org", "Acme", "-o", "name"))
	require.NotContains(t, b.ok("get", "devices"), "acme-1")
	o = b.run("get", "devices", "--org", "nowhere")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `"nowhere"`)
}

func TestATableIsSafeForATerminal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.giveYAML(device{name: "web-1", labels: `alias: "x"`}.document())
	_, err := b.store.DB().ExecContext(t.Context(), `update devices set labels = '{"alias": "evil\u001b[2Jname\nweb-2 fake row"}'`)
	require.NoError(t, err)
	out := b.ok("get", "devices")
	require.NotContains(t, out, "\x1b")
	require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), 2, out)
}
