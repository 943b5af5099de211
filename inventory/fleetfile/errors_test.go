package fleetfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// device is a document of a device named web-7 with one more line in its metadata.
func device(line string) string {
	return "apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata:\n  name: web-7\n  " + line + "\n"
}

func TestImportNamesTheDocumentAndTheField(t *testing.T) {
	t.Parallel()
	const web7, web1 = `document 1 (Device "web-7"): `, `document 1 (Device "web-1"): `
	for name, c := range map[string]struct{ input, message string }{
		"number as label": {
			webYAML + "---\n" + edgeYAML + "---\n" + device("labels: {site: 7}"),
			`document 3 (Device "web-7"): metadata.labels.site: must be a string, not a number`,
		},
		"boolean as label": {
			device("labels: {power: on}"), web7 + "metadata.labels.power: must be a string, not a boolean",
		},
		"null as label": {device("labels: {site: }"), web7 + "metadata.labels.site: must be a string, not null"},
		"label with a slash": {
			device("labels: {example.com/site: 7}"),
			web7 + `metadata.labels["example.com/site"]: must be a string, not a number`,
		},
		"label value":    {device("labels: {site: a b}"), web7 + "metadata.labels.site: a valid label must be"},
		"label key":      {device("labels: {a b: x}"), web7 + `metadata.labels["a b"]: name part must consist of`},
		"labels as list": {device("labels: [a]"), web7 + "metadata.labels: must be an object, not a list"},
		"number as annotation": {
			device("annotations: {device-controller/renderedVersion: 5}"),
			web7 + `metadata.annotations["device-controller/renderedVersion"]: must be a string, not a number`,
		},
		"owner": {
			device("owner: web"), web7 + `metadata.owner: "web" is not of the form KIND/NAME, as in "Fleet/web"`,
		},
		"owner without name": {device("owner: Fleet/"), web7 + "metadata.owner:"},
		"creationTimestamp": {
			device("creationTimestamp: yesterday"), web7 + `metadata.creationTimestamp: "yesterday" is not a time`,
		},
		"date only": {
			device("creationTimestamp: 2026-08-01"), web7 + `metadata.creationTimestamp: "2026-08-01" is not a time`,
		},
		"generation":         {device("generation: 1.5"), web7 + `metadata.generation: "1.5" is not a whole number`},
		"generation as text": {device(`generation: "1"`), web7 + "metadata.generation: must be a number, not a string"},
		"resourceVersion": {
			device("resourceVersion: 12"), web7 + "metadata.resourceVersion: must be a string, not a number",
		},
		"unknown in metadata": {device("label: {}"), web7 + "metadata.label: there is no such field"},
		"unknown at top":      {device("") + "stauts: {}", web7 + "stauts: there is no such field"},
		"spec as text":        {device("") + "spec: x", web7 + "spec: must be an object, not a string"},
		"status as list":      {device("") + "status: []", web7 + "status: must be an object, not a list"},
		"lastSeen": {
			device("") + "status: {lastSeen: 7}", web7 + "status.lastSeen: must be a string, not a number",
		},
		"twice in the input": {
			device("") + "---\n" + device(""),
			`document 2 (Device "web-7"): metadata.name: stands twice in the input, first as document 1 (Device "web-7")`,
		},
		"field twice":         {device("name: x"), `document 1: line 5: the field "name" stands there twice`},
		"field twice in JSON": {`{"kind":"Device","kind":"Fleet"}`, `document 1: the field "kind" stands there twice`},
		"nested field twice": {
			strings.TrimSuffix(webJSON, "}") + `,"spec":{"os":{"a":1,"a":2}}}`,
			`document 1 (Device "web-1"): spec.os: the field "a" stands there twice`,
		},
		"NUL in a label": {
			device(`labels: {site: "a\0"}`),
			web7 + `metadata.labels.site: holds a NUL character (\u0000), which the database cannot store`,
		},
		"NUL in a field name": {device("") + `spec: {a: {"b\0": 1}}`, web7 + `spec.a["b\x00"]: holds a NUL character`},
		"number bomb":         {specJSON("1e131071"), web1 + "spec.n: the number's exponent is beyond 400"},
		"long number": {
			device("") + "spec: {n: [" + strings.Repeat("7", 65) + "]}", web7 + "spec.n[0]: the number has more than 64 digits",
		},
		"many short bombs": {
			specJSON("[1" + strings.Repeat(",1e400", 50_000) + "]"), web1 + "the resource takes more than 16 MB in the database",
		},
		"many fields": {
			device("") + "spec: {" + manyFields(5001) + "}", "there are more than 5000 fields in the document",
		},
		"deep": {
			device("") + "spec: {n: " + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "}",
			"there are more than 64 levels of objects and lists",
		},
		"name": {
			"apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: {name: Web_7}",
			`document 1 (Device "Web_7"): metadata.name: "Web_7" is not a name`,
		},
		"name as number": {
			"apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: {name: 7}",
			"document 1 (Device): metadata.name: must be a string, not a number",
		},
		"no name": {
			"apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: {}", "document 1 (Device): metadata.name: is missing",
		},
		"no metadata": {
			"apiVersion: flightctl.io/v1beta1\nkind: Device", "document 1 (Device): metadata.name: is missing",
		},
		"metadata as text": {
			"apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: x",
			"document 1 (Device): metadata: must be an object, not a string",
		},
		"no kind":        {"apiVersion: flightctl.io/v1beta1", "document 1: kind: is missing"},
		"kind as number": {"kind: 7", "document 1: kind: must be a string, not a number"},
		"unknown kind": {
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a}", `document 1 (Pod "a"): kind: "Pod" cannot be imported`,
		},
		"unknown list": {
			"apiVersion: v1\nkind: PodList\nitems: []", `document 1 (PodList): kind: "PodList" cannot be imported`,
		},
		"other group": {
			"apiVersion: apps/v1\nkind: Device\nmetadata: {name: web-7}",
			web7 + `apiVersion: "apps/v1" is not of Flight Control`,
		},
		"item of a list": {
			`{"apiVersion":"v1","kind":"List","items":[` + webJSON + `,{"kind":"Device","apiVersion":"v1"}]}`,
			`document 1, item 2 (Device): apiVersion: "v1" is not of Flight Control`,
		},
		"item of another kind": {
			`{"apiVersion":"flightctl.io/v1beta1","kind":"DeviceList","items":[` + edgeJSON + `]}`,
			`document 1, item 1 (Fleet "edge"): kind: a DeviceList holds no "Fleet"`,
		},
		"items as object": {
			`{"apiVersion":"v1","kind":"List","items":{}}`, "document 1 (List): items: must be a list, not an object",
		},
		"unknown in a list": {
			`{"apiVersion":"v1","kind":"List","itmes":[]}`, "document 1 (List): itmes: there is no such field",
		},
		"list at top":           {"[" + webJSON + "]", "document 1: must be an object, not a list"},
		"text":                  {"hello", "document 1: must be an object, not a string"},
		"UTF-16":                {"\xff\xfea\x00:\x00", "document 1: is not UTF-8 text"},
		"broken YAML":           {webYAML + "---\n# x\na: b\n c: d\n", "document 2: line 8: "},
		"broken JSON":           {"\n{\n\"a\": 1,\n}\n\n}", "document 1: line "},
		"broken second JSON":    {webJSON + "\n{\"a\":\nx}", "document 2: line 3: invalid character 'x'"},
		"a brace left open":     {`{"kind":"Device"`, "document 1: line 1: unexpected end of JSON input"},
		"unknown tag":           {"kind: !!binary aGk=", "document 1: line 1: the tag !!binary is not supported"},
		"not a number in JSON":  {device("") + "spec: {x: .nan}", `document 1: line 6: ".nan" cannot be written in JSON`},
		"anchor in itself":      {"a: &x {b: *x}", `document 1: line 1: the anchor "x" contains itself`},
		"merge of itself":       {"a: &x {b: {<<: *x}}", "document 1: line 1: the document is nested more than 1000 deep"},
		"merge of text":         {"<<: a", "document 1: line 1: '<<' merges mappings only"},
		"name of a field":       {"? [a]\n: b", "document 1: line 1: the name of a field must be a string"},
		"aliases without bound": {laughs(), "document 1: line "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeAll(c.input)
			require.ErrorContains(t, err, c.message)
		})
	}
}

// specJSON is a device in JSON whose spec.n is this value.
func specJSON(value string) string {
	return strings.TrimSuffix(webJSON, "}") + `,"spec":{"n":` + value + "}}"
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 0, ", i)
	}
	return b.String()
}

// laughs is a few lines of aliases that stand for a billion values.
func laughs() string {
	input := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		this, next := string(rune('0'+i)), string(rune('1'+i))
		input += "a" + next + ": &a" + next + " ["
		for range 10 {
			input += "*a" + this + ","
		}
		input += "]\n"
	}
	return input
}
