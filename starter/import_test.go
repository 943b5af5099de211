package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestImportSaysWhatItTook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	documents := device{name: "web-1", version: "5"}.document() + "---\n" + fleet("web", "a: b")
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "fleet.yaml"), []byte(documents), 0o600))
	require.Equal(t, "imported 1 device, 1 fleet, 0 enrollment requests\n", b.ok("import", "-f", "fleet.yaml"))

	again := b.run("import", "-f", "fleet.yaml")
	require.Equal(t, 1, again.code)
	require.Contains(t, again.stderr, "fleet.yaml")
	require.Contains(t, again.stderr, `"web-1"`)

	var report importReport
	b.run("import", "-f", filepath.Join(b.dir, "fleet.yaml"), "--skip-existing", "-o", "json").json(t, &report)
	require.Equal(t, importReport{Skipped: 2}, report)
	require.Contains(t, b.ok("import", "-f", "fleet.yaml", "--skip-existing"), "left 2 as they were")
}

func TestImportTakesAllOrNothingAndNamesTheDocument(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	broken := device{name: "web-1"}.document() + "---\n" +
		"apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: {name: web-2, labels: {a: 1}}\n"
	o := b.runWith(t.Context(), broken, "import", "-f", "-")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `document 2 (Device "web-2")`)
	require.Contains(t, o.stderr, "metadata.labels")
	require.Empty(t, b.ok("get", "devices", "-o", "name"))
	require.Empty(t, o.stdout)

	o = b.runWith(t.Context(), broken, "import", "-f", "-", "--org", "Acme", "--create-org")
	require.Equal(t, 1, o.code)
	_, err := b.store.ResolveOrg(t.Context(), "Acme")
	require.Equal(t, runbook.CodeNotFound, runbook.AsRefusal(err).Code, "nor is the organisation made")
	b.acme(device{name: "web-1"}.document())
	b.acme(device{name: "web-2"}.document()) // which is there by now
	require.Equal(t, "device/web-1\ndevice/web-2\n", b.ok("get", "devices", "-o", "name", "--org", "Acme"))
}

func TestImportOfAFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.run("import", "-f", "nowhere.yaml")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "nowhere.yaml")
	o = b.runWith(t.Context(), device{name: "web-1"}.document(), "import", "-f", "-", "--org", "Acme")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, `"Acme"`)
}
