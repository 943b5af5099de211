package fleetfile

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	sigsyaml "sigs.k8s.io/yaml"
)

// item2 is the beginning of an item of a list.
const item2 = "apiVersion: flightctl.io/v1beta1\n  kind: Device\n"

// Flight Control prints a list's kind behind its items, and an item may leave its own to the list.
func TestAListIsReadItemByItem(t *testing.T) {
	t.Parallel()
	const head, tail = "apiVersion: flightctl.io/v1beta1\n", "kind: DeviceList\nmetadata: {}\nsummary:\n  total: 2\n"
	for name, c := range map[string]struct {
		input string
		want  []string
	}{
		"as Flight Control prints it": {
			head + "items:\n- " + item2 + "  metadata:\n    name: a\n- " + item2 + "  metadata:\n    name: b\n" + tail,
			[]string{"Device/a", "Device/b"},
		},
		"kind behind the items": {
			head + "items:\n- metadata: {name: a}\n- metadata: {name: b}\n" + tail, []string{"Device/a", "Device/b"},
		},
		"kind before the items": {
			head + tail + "items: # two\n# first\n\n- metadata: {name: a}\n-\n  metadata: {name: b}\n",
			[]string{"Device/a", "Device/b"},
		},
		"indented": {
			head + tail + "items:\n    - metadata:\n        name: a\n    # second\n    - metadata: {name: b}",
			[]string{"Device/a", "Device/b"},
		},
		"flow style": {
			head + "items: [{metadata: {name: a}}, {metadata: {name: b}}]\n" + tail, []string{"Device/a", "Device/b"},
		},
		"another block": {head + "items:\n  [{metadata: {name: a}}]\n" + tail, []string{"Device/a"}},
		"quoted name":   {head + "\"items\":\n- metadata: {name: a}\n" + tail, []string{"Device/a"}},
		"nothing":       {head + "items:\n" + tail, []string{}},
		"dashes in a text": {
			head + tail +
				"items:\n- metadata: {name: a}\n  spec:\n    text: |\n      - a\n\n      # b\n    list:\n    - items:\n    - " +
				"x\n- metadata: {name: b}", []string{"Device/a", "Device/b"},
		},
		"anchors of earlier items": {
			head + tail +
				"items:\n- &a\n  metadata: &m {name: a}\n- metadata: {<<: *m, name: b}\n- <<: *a\n  metadata: {name: c}",
			[]string{"Device/a", "Device/b", "Device/c"},
		},
		"JSON, kind behind the items": {
			`{"apiVersion":"flightctl.io/v1beta1","items":[{"metadata":{"name":"a"}},` + webJSON + `],"kind":"DeviceList"}`,
			[]string{"Device/web-1", "Device/a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			records, err := decodeAll(c.input)
			require.NoError(t, err)
			require.Equal(t, c.want, namesOf(records))
		})
	}
}

func TestWhatIsWrongWithAnItemIsSaidWithItsPlace(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: flightctl.io/v1beta1\nkind: DeviceList\nitems:\n- metadata: {name: a}\n"
	for name, c := range map[string]struct{ input, message string }{
		"field": {
			head + "- metadata: {name: b, labels: {site: 7}}",
			`document 1, item 2 (Device "b"): metadata.labels.site: must be a string`,
		},
		"syntax":           {head + "- metadata: {name: b}\n  a: b\n   c: d\n", "document 1: line 7: "},
		"no such anchor":   {head + "- *b\n", "document 1: "},
		"behind the items": {head + "x: {}\n", "document 1 (DeviceList): x: there is no such field"},
		"items twice": {
			head + "metadata: {}\nitems:\n- metadata: {name: b}\n", `document 1: the field "items" stands there twice`,
		},
		"kind twice": {head + "kind: DeviceList\n", `document 1: the field "kind" stands there twice`},
		"a fleet": {
			"apiVersion: flightctl.io/v1beta1\nitems:\n- " + strings.ReplaceAll(edgeYAML, "\n", "\n  ") + "\nkind: DeviceList\n",
			`document 1, item 1 (Fleet): kind: a DeviceList holds no "Fleet"`,
		},
		"a device with items": {
			"apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: {name: a}\nitems:\n- " + item2 +
				"  metadata: {name: b}\n", `document 1 (Device "a"): items: there is no such field`,
		},
		"too long": {
			"apiVersion: flightctl.io/v1beta1\nkind: Device\nspec: {a: '" +
				strings.Repeat(strings.Repeat("x", 76)+"\n  ", 18<<20/79) + "'}\n",
			"document 1: line 1: the resource is longer than 16 MB",
		},
		"too long in JSON": {
			specJSON(`"` + strings.Repeat("x", 18<<20) + `"`), "document 1: line 1: the resource is longer than 16 MB",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeAll(c.input)
			require.ErrorContains(t, err, c.message)
		})
	}
}

// A list is taken apart before it is parsed; what comes of it is what a parser makes of the whole.
func TestAListTakenApartIsTheListAsAWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		specs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return `{"v":` + anyJSON().Draw(t, "v") + "}"
		}), 1, 4).Draw(t, "specs")
		var items []string
		for i, spec := range specs {
			if strings.ContainsAny(spec, "\u0085\u2028\u2029") {
				return // TestYAMLOfFlightControlIsReadBack
			}
			items = append(items,
				fmt.Sprintf(`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"d%d"},"spec":%s}`, i, spec))
		}
		list := `{"apiVersion":"flightctl.io/v1beta1","kind":"DeviceList","items":[` + strings.Join(items, ",") + "]}"
		var value any
		d := json.NewDecoder(strings.NewReader(list))
		d.UseNumber()
		require.NoError(t, d.Decode(&value))
		asYAML, err := sigsyaml.JSONToYAML([]byte(list))
		if err != nil || strings.Contains(list, `\u0000`) {
			return
		}
		for _, input := range []string{list, string(asYAML)} {
			records, err := decodeAll(input)
			require.NoError(t, err, input)
			require.Len(t, records, len(specs))
			for i, r := range records {
				require.Equal(t, compact(t, specs[i]), compact(t, string(r.Spec)), input)
			}
		}
	})
}

// many is a file of n devices of some 3 KB each, which is made while it is read; it counts what has been read.
type many struct {
	parts  func(i int) string
	n, i   int
	rest   string
	length int
}

func (m *many) Read(p []byte) (int, error) {
	for m.rest == "" {
		if m.i > m.n {
			return 0, io.EOF
		}
		m.rest = m.parts(m.i)
		m.i++
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	m.length += n
	return n, nil
}

// files are the forms of a large file; the part with the number n ends it.
func files(n int) map[string]*many {
	spec := strings.Repeat("0123456789abcdef", 180)
	return map[string]*many{
		"JSON list": {n: n, parts: func(i int) string {
			switch i {
			case 0:
				return `{"apiVersion":"flightctl.io/v1beta1","items":[` +
					fmt.Sprintf(`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"d"},"spec":{"a":%q}}`, spec)
			case n:
				return `],"kind":"DeviceList"}`
			}
			return fmt.Sprintf(`,{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"d%d"},"spec":{"a":%q}}`, i, spec)
		}},
		"YAML list": {n: n, parts: func(i int) string {
			switch i {
			case 0:
				return "apiVersion: flightctl.io/v1beta1\nitems:\n"
			case n:
				return "kind: DeviceList\n"
			}
			return fmt.Sprintf("- %s  metadata:\n    name: d%d\n  spec:\n    a: %s\n", item2, i, spec)
		}},
		"YAML documents": {n: n, parts: func(i int) string {
			return fmt.Sprintf("apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata:\n  name: d%d\nspec:\n  a: %s\n---\n",
				i, spec)
		}},
	}
}

// This test is alone, so that the memory is its own.
func TestALargeFileNeedsLittleMemory(t *testing.T) {
	for name, file := range files(5_000) {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			var most uint64
			n := 0
			_, err := Decode(file, func(Record) error {
				if n++; n%500 == 0 {
					runtime.ReadMemStats(&now)
					most = max(most, now.HeapInuse)
				}
				return nil
			})
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, 4999)
			require.Greater(t, file.length, 13<<20)
			require.Less(t, int64(most)-int64(before.HeapInuse), int64(file.length), "the file is %d MB", file.length>>20)
			t.Logf("%d MB in the file, %d KB more in memory", file.length>>20, (int64(most)-int64(before.HeapInuse))>>10)
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name := range files(1) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				file := files(1000)[name]
				_, err := Decode(file, func(Record) error { return nil })
				require.NoError(b, err)
				b.SetBytes(int64(file.length))
			}
		})
	}
}
