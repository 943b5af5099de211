package fleetfile

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func decodeAll(input string) ([]Record, error) {
	var records []Record
	_, err := Decode(strings.NewReader(input), func(r Record) error {
		records = append(records, r)
		return nil
	})
	return records, err
}

func namesOf(records []Record) []string {
	names := []string{}
	for _, r := range records {
		names = append(names, r.Kind+"/"+r.Name)
	}
	return names
}

const (
	webYAML  = "apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata:\n  name: web-1\n"
	edgeYAML = "apiVersion: flightctl.io/v1alpha1\nkind: Fleet\nmetadata:\n  name: edge\n"
	webJSON  = `{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"web-1"}}`
	edgeJSON = `{"apiVersion":"flightctl.io/v1beta1","kind":"Fleet","metadata":{"name":"edge"}}`
)

func TestImportReadsEveryForm(t *testing.T) {
	t.Parallel()
	both := []string{"Device/web-1", "Fleet/edge"}
	for name, c := range map[string]struct {
		input string
		want  []string
	}{
		"nothing":       {"", []string{}},
		"only comments": {"# nothing\n---\n# here\n...\n", []string{}},
		"one document":  {webYAML, both[:1]},
		"two documents": {webYAML + "---\n" + edgeYAML, both},
		"markers around": {
			"---\n" + webYAML + "---\n---\n# none\n--- # a comment\n" + edgeYAML + "---\n", both,
		},
		"document end markers": {"%YAML 1.1\n---\n" + webYAML + "...\n" + edgeYAML + "...\n", both},
		"byte order mark":      {"\xef\xbb\xbf" + webYAML, both[:1]},
		"CRLF":                 {strings.ReplaceAll(webYAML+"---\n"+edgeYAML, "\n", "\r\n"), both},
		"no last newline":      {strings.TrimSpace(webYAML) + "\n---\n" + strings.TrimSpace(edgeYAML), both},
		"JSON":                 {webJSON, both[:1]},
		"JSON behind a BOM":    {"\xef\xbb\xbf" + webJSON + edgeJSON, both},
		"concatenated JSON":    {webJSON + edgeJSON, both},
		"JSON lines":           {webJSON + "\n" + edgeJSON + "\n", both},
		"JSON between markers": {webJSON + "\n---\n" + edgeYAML, both},
		"flow YAML": {
			`{apiVersion: flightctl.io/v1beta1, kind: Device, metadata: {name: web-1}}`, both[:1],
		},
		"flow YAML on a marker's line": {
			`--- {apiVersion: flightctl.io/v1beta1, kind: Device, metadata: {name: web-1}}`, both[:1],
		},
		"Kubernetes List": {
			`{"apiVersion":"v1","kind":"List","items":[` + webJSON + "," + edgeJSON + `]}`, both,
		},
		"DeviceList": {
			"apiVersion: flightctl.io/v1beta1\nkind: DeviceList\nmetadata: {}\nsummary: {total: 1}\nitems:\n- metadata:\n    " +
				"name: web-1\n",
			both[:1],
		},
		"empty list": {`{"apiVersion":"flightctl.io/v1beta1","kind":"DeviceList","metadata":{},"items":null}`, []string{}},
		"anchors": {"apiVersion: v1\nkind: List\nitems:\n- &d\n  apiVersion: flightctl.io/v1beta1\n  kind: Device\n  " +
			"metadata: {name: web-1}\n" +
			"- <<: *d\n  kind: Fleet\n  metadata: {name: edge}\n", both},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			records, err := decodeAll(c.input)
			require.NoError(t, err)
			require.Equal(t, c.want, namesOf(records))
		})
	}
}

// Agents and Flight Control's command line write them all.
func TestImportReadsEverySpellingOfTheAPIVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1beta1", "v1alpha1", "flightctl.io/v1beta1", "flightctl.io/v1alpha1", ""} {
		document := strings.Replace(webYAML, "flightctl.io/v1beta1", version, 1)
		for _, input := range []string{document, strings.Replace(webJSON, "flightctl.io/v1beta1", version, 1)} {
			records, err := decodeAll(input)
			require.NoError(t, err, input)
			require.Equal(t, []string{"Device/web-1"}, namesOf(records))
		}
	}
	_, err := decodeAll(strings.Replace(webYAML, "flightctl.io/v1beta1", "apps/v1", 1))
	require.ErrorContains(t, err, "apiVersion")
}

func TestImportReadsEveryField(t *testing.T) {
	t.Parallel()
	records, err := decodeAll(`
apiVersion: flightctl.io/v1beta1
kind: Device
metadata:
  name: web-1
  owner: Fleet/web
  labels: {site: berlin, alias: gate, example.com/zone: "7"}
  annotations: {device-controller/renderedVersion: "5", note: "any text: at all"}
  generation: 3
  resourceVersion: "12"
  creationTimestamp: 2026-08-01T10:00:00Z
  deletionTimestamp: "2026-08-02T10:00:00+02:00"
spec: {os: {image: x}}
status: {lastSeen: "2026-07-01T10:00:00Z", summary: {status: Online}}
`)
	require.NoError(t, err)
	require.Len(t, records, 1)
	r := records[0]
	require.Equal(t, "Fleet/web", *r.Owner)
	require.Equal(t, map[string]string{"site": "berlin", "alias": "gate", "example.com/zone": "7"}, r.Labels)
	require.Equal(t, map[string]string{"device-controller/renderedVersion": "5", "note": "any text: at all"},
		r.Annotations)
	require.Equal(t, []int64{3, 12}, []int64{r.Generation, r.ResourceVersion})
	require.Equal(t, "2026-08-01 10:00:00 +0000 UTC", r.CreatedAt.UTC().String())
	require.Equal(t, "2026-08-02 08:00:00 +0000 UTC", r.DeletedAt.UTC().String())
	require.Equal(t, "gate", r.Alias)
	require.JSONEq(t, `{"os":{"image":"x"}}`, string(r.Spec))
	require.JSONEq(t, `{"summary":{"status":"Online"}}`, string(r.Status))
	require.Equal(t, "2026-07-01 10:00:00 +0000 UTC", r.LastSeen.UTC().String())
}

func TestImportTakesTheZeroTimeForNeverSeen(t *testing.T) {
	t.Parallel()
	records, err := decodeAll(webYAML + `status: {lastSeen: "0001-01-01T00:00:00Z"}`)
	require.NoError(t, err)
	require.Nil(t, records[0].LastSeen)
	require.JSONEq(t, `{}`, string(records[0].Status))
}

func TestImportTreatsNullAsLeftOut(t *testing.T) {
	t.Parallel()
	records, err := decodeAll("apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: {name: web-1, owner: null, " +
		"labels: null, creationTimestamp: null}\nspec: null\nstatus:\n")
	require.NoError(t, err)
	r := records[0]
	require.Nil(t, r.Owner)
	require.Nil(t, r.Labels)
	require.Nil(t, r.CreatedAt)
	require.Nil(t, r.Spec)
	require.Nil(t, r.Status)
}
