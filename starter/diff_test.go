package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory/specdiff"
)

const runningDevice = `apiVersion: flightctl.io/v1beta1
kind: Device
metadata: {name: %NAME%, owner: Fleet/web, annotations: {device-controller/conflictPaused: "true"}}
spec: {os: {image: registry.example.com/web:1}}
status: {os: {image: "registry.example.com/web:%RUNS%"}, summary: {status: ConflictPaused}}
`

// diff says for one device, and for a selection in groups, what a resume would change, and marks backward steps.
func TestDiff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.giveYAML(fleet("web", "fleet: web"), // its template asks for web:2
		strings.NewReplacer("%NAME%", "web-1", "%RUNS%", "3.0").Replace(runningDevice),
		strings.NewReplacer("%NAME%", "web-2", "%RUNS%", "3.0").Replace(runningDevice),
		strings.NewReplacer("%NAME%", "web-3", "%RUNS%", "1.9").Replace(runningDevice),
		device{name: "normal", version: "5"}.document())
	require.Equal(t, "device web-1, by the template of Fleet/web:\n    image 3.0 → 2, backwards\n",
		b.ok("diff", "device", "web-1"))
	require.Equal(t, "2 devices: image 3.0 → 2, backwards\n    web-1, web-2\n1 device: image 1.9 → 2\n    web-3\n",
		b.ok("diff", "devices", "--all"))
	var report diffReport
	b.run("diff", "devices", "--field-selector=metadata.owner=Fleet/web", "-o", "json").json(t, &report)
	require.Len(t, report.Devices, 3)
	require.Equal(t, []specdiff.Change{{
		Field: "os.image", Runs: "registry.example.com/web:3.0", Would: "registry.example.com/web:2", Backwards: true,
	}}, report.Devices[0].Changes)

	require.Equal(t, 3, b.run("diff", "devices", "-l", "site=none").code)
	missing := b.run("diff", "device", "nosuch")
	require.Equal(t, 1, missing.code)
	require.Contains(t, missing.stderr, "there is no device nosuch")
	require.Equal(t, 2, b.run("diff", "devices").code)
}
