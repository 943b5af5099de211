package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
	"sigs.k8s.io/yaml"

	"rollcall/inventory"
	"rollcall/starter/devstack"
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
		streams := testIO(&writes, io.Discard, map[string]string{devstack.EnvDatabaseURL: b.database("get")})
		code := Execute(t.Context(), streams, strings.Fields(args))
		require.Zero(t, code, args)
		require.EqualValues(t, 1, writes, args)
	}
}

func TestGetOneNamePrintsTheDeviceItself(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	for _, line := range []string{
		"get device web-1 -o json", "get devices web-1 -o json", "get device/web-1 -o json",
		"get dev/web-1 -o yaml", "get devices/web-1 web-1 -o yaml",
	} {
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
	require.Regexp(t, `(?m)LAST SEEN +LAST SEEN BEFORE +RENDERED +REPORTED +RESTORE +LABELS$`, wide)
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
	require.Regexp(t, `(?m)^er-1 +Pending +<none> +<none> +unknown +never \(Malformed\) .* 8 +false +<none>$`, table)
	require.Regexp(t, `(?m)^er-2 +Approved +alice +site=berlin +unknown +<none> .* +<none> +false +<none>$`, table)
	require.Regexp(t, `(?m)^er-3 +Denied +bob`, table)
	require.Contains(t, b.ok("get", "er", "-o", "json"), `"EnrollmentRequestList"`)
	require.Contains(t, b.ok("get", "er/er-1", "-o", "json"), `"kind": "EnrollmentRequest"`)
}

func TestGetKeepsEveryDigitAndFieldOfWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const big = "123456789012345678901234567890"
	b.giveYAML("{apiVersion: flightctl.io/v1beta1, kind: Device, metadata: {name: web-1}, " +
		"spec: {counter: " + big + ", ratio: 1.50, text: \"0x10\", yes: \"yes\", multi: \"a\\nb\\n\", empty: {}, list: [], " +
		"nothing: null}}\n")
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
	_, err := b.store.DB().ExecContext(t.Context(),
		`update devices set labels = '{"alias": "evil\u001b[2Jname\nweb-2 fake row"}'`)
	require.NoError(t, err)
	out := b.ok("get", "devices")
	require.NotContains(t, out, "\x1b")
	require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), 2, out)
}

// get shows the audit and the restores, sorts, counts, and picks fields.
func TestGetForScriptsAndTheAudit(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "12"}, device{name: "pump", version: "9"})
	b.restored("night")
	b.reported("web-1", "7", runbook.StateConflictPaused)
	b.reported("pump", "9", runbook.StateNormal)
	require.Equal(t, 4, b.run("resume", "device", "web-1", "--expect-version", "6", "--as", "eve").code)

	require.Regexp(t, `(?m)^night +Running .* 1 +1 +1 +0 +3$`, b.ok("get", "restores"))
	audit := b.ok("get", "transitions", "web-1")
	require.Regexp(t, `T1 +AwaitingReconnect`, audit)
	require.Regexp(t, `T3 +ConflictPaused +7`, audit)
	refused := b.ok("get", "transitions", "--refused", "--by", "eve", "--since", "1h", "--restore", "night",
		"--no-headers")
	require.Equal(t, 1, strings.Count(refused, "\n"), refused)
	require.Contains(t, refused, "resume refused (VersionChanged): ")
	require.Equal(t, "web-1 eve", b.ok("get", "transitions", "--refused", "-o",
		"jsonpath={.items[0].name} {.items[0].actor}"))

	require.Equal(t, "pump\n", b.ok("get", "devices", "--sort-by", "metadata.name", "--limit", "1", "--no-headers", "-o",
		"custom-columns=NAME:.metadata.name"))
	require.Equal(t, "SYSTEM              DEVICES\nAwaitingReconnect   1\nConflictPaused      1\nOnline              "+
		"1\ntotal               3\n", b.ok("get", "devices", "--summary"))
	for want, args := range map[string][]string{
		"have no labels":          {"get", "restores", "-l", "a=b"},
		"are for `get":            {"get", "devices", "--refused"},
		"--summary counts":        {"get", "fleets", "--summary"},
		"needs a template":        {"get", "devices", "-o", "jsonpath"},
		"is not HEADER:FIELD":     {"get", "devices", "-o", "custom-columns=NAME"},
		"is not a field":          {"get", "devices", "--sort-by", "{}"},
		"transitions have no nam": {"get", "transitions", "-o", "name"},
	} {
		o := b.run(args...)
		require.Equal(t, 2, o.code, args)
		require.Contains(t, o.stderr, want)
	}
}

func TestGetReadsAListInParts(t *testing.T) {
	t.Parallel()
	b := threeDevices(t)
	var part struct {
		Metadata struct{ Continue string }
		Items    []inventory.Resource
	}
	read := func(args ...string) (names []string, next string) {
		t.Helper()
		part.Metadata.Continue = ""
		b.run(append(args, "-o", "json")...).json(t, &part)
		for _, item := range part.Items {
			names = append(names, item.Metadata.Name)
		}
		return names, part.Metadata.Continue
	}
	names, next := read("get", "devices", "--limit", "2")
	require.Equal(t, []string{"pump-1", "web-1"}, names)
	require.NotEmpty(t, next)
	names, end := read("get", "devices", "--limit", "2", "--continue", next)
	require.Equal(t, []string{"web-2"}, names)
	require.Empty(t, end, "there are no more")
	_, end = read("get", "devices", "--limit", "3")
	require.Empty(t, end)

	o := b.run("get", "devices", "--limit", "1")
	require.Contains(t, o.stderr, "there are more: go on with --continue ")
	require.NotContains(t, o.stdout, "web-1")
	_, err := b.store.DB().ExecContext(t.Context(), `
		insert into events (org_id, name, reason, type, message, created_at, updated_at)
		select $1, 'event-' || n, 'Test', 'Normal', 'm', now() - make_interval(mins => n / 2), now() from generate_series(1,
		5) n`,
		runbook.DefaultOrgID)
	require.NoError(t, err)
	var all []string
	for token := ""; ; {
		args := []string{"get", "events", "--limit", "2"}
		if token != "" {
			args = append(args, "--continue", token)
		}
		names, token = read(args...)
		all = append(all, names...)
		if token == "" {
			break
		}
	}
	require.Len(t, all, 5)
	require.ElementsMatch(t, []string{"event-1", "event-2", "event-3", "event-4", "event-5"}, all, "each once")

	for line, want := range map[string]string{
		"get devices --continue nonsense":        "is not where a list of devices goes on",
		"get fleets --continue " + next:          "is not where a list of fleets goes on",
		"get devices web-1 --continue " + next:   "without names",
		"get restores --continue " + next:        "not read in parts",
		"get devices --watch --continue " + next: "without names",
	} {
		o := b.run(strings.Fields(line)...)
		require.Equal(t, 2, o.code, line)
		require.Contains(t, o.stderr, want, line)
	}
}

func TestGetEnrollmentRequestsShowsWhoAsks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.giveYAML(`apiVersion: flightctl.io/v1beta1
kind: EnrollmentRequest
metadata:
  name: er-1
  creationTimestamp: "2026-01-02T03:04:05Z"
spec:
  labels: {alias: lobby}
  deviceStatus: {systemInfo: {hostname: kiosk-7}}
`)
	require.Regexp(t, `(?m)^er-1 +Pending .* lobby +kiosk-7 +[0-9]+(d|y|y[0-9]+d)$`, b.ok("get", "enrollmentrequests"))
}
