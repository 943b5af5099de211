package fleetfile

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	sigsyaml "sigs.k8s.io/yaml"
)

func TestImportKeepsEveryDigit(t *testing.T) {
	t.Parallel()
	for _, number := range []string{
		"0", "-1", "9007199254740993", "9223372036854775807", "18446744073709551615", "18446744073709551616",
		"123456789012345678901234567890", "-123456789012345678901234567890", "1.10", "0.1000000000000000055511151231257827",
		"1e3", "1.5E-7",
	} {
		for form, input := range map[string]string{
			"YAML": webYAML + "spec:\n  n: " + number + "\n",
			"JSON": strings.TrimSuffix(webJSON, "}") + `,"spec":{"n": ` + number + "}}",
		} {
			t.Run(form+" "+number, func(t *testing.T) {
				t.Parallel()
				records, err := decodeAll(input)
				require.NoError(t, err)
				fields, err := members(records[0].Spec)
				require.NoError(t, err)
				require.Equal(t, number, string(fields[0].value))
			})
		}
	}
}

// What Flight Control's own YAML reader makes of a scalar is what an import makes of it.
func TestYAMLScalarsAreReadAsFlightControlReadsThem(t *testing.T) {
	t.Parallel()
	for _, scalar := range []string{
		"yes", "No", "on", "OFF", "y", "n", "true", "False", "TRUE", "~", "null", "", "'yes'", `"true"`, "Yess", "oN",
		"0777", "0x1F", "0b101", "0o17", "1_000", "+5", "-5", "007", "08", ".5", "5.", "+1.5", "1e3", "1_0.5", "-0", "0.0",
		"2026-08-01", "2026-08-01T10:00:00Z", "12:30", "1.2.3", "5Gi", "abc", "'5'", `"5"`, "!!str 5", "!!int \"5\"",
		"!!float 5", "!!bool yes",
		"|\n  two\n  lines\n", ">\n  two\n  lines\n", `"\u00e9\n\t\\"`, "'it''s'", "a # comment", "[1, yes, {a: b}]",
		"{a: on, 1: x, true: y}", "ünï", "<b>&",
	} {
		t.Run(scalar, func(t *testing.T) {
			t.Parallel()
			want, err := sigsyaml.YAMLToJSON([]byte("v: " + scalar))
			require.NoError(t, err)
			got, _, err := yamlToJSON([]byte("v: "+scalar), 0)
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(got))
		})
	}
}

func TestYAMLMergesAsFlightControlDoes(t *testing.T) {
	t.Parallel()
	for _, input := range []string{
		"a: &a {x: 1, p: 2}\nb: {<<: *a, p: 3, z: 4}",
		"a: &a {x: 1}\nb: &b {x: 2, p: 2}\nc: {<<: [*a, *b], z: 3}",
		"a: &a {x: 1}\nb: &b {<<: *a, p: 2}\nc: {<<: *b}",
		"a: &a [1, 2]\nb: *a\nc: {d: *a}",
		"a: {'<<': x}",
		"a: {<<: {x: 1}, p: 2}",
	} {
		want, err := sigsyaml.YAMLToJSON([]byte(input))
		require.NoError(t, err)
		got, _, err := yamlToJSON([]byte(input), 0)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(got), input)
	}
}

// anyJSON draws a JSON value as text, with odd strings and numbers and with space in between.
func anyJSON() *rapid.Generator[string] {
	leaf := rapid.OneOf(
		rapid.SampledFrom([]string{
			"null", "true", "false", "0", "-12", "9007199254740993", "1.5", `""`, `"yes"`, `"1"`, `"\"}]\\"`, `"é\n"`,
		}),
		rapid.Map(rapid.String(), quote),
		rapid.Map(rapid.Int64(), func(n int64) string { text, _ := json.Marshal(n); return string(text) }),
	)
	var value *rapid.Generator[string]
	depth := 0
	value = rapid.Custom(func(t *rapid.T) string {
		if depth++; depth > 4 || rapid.Bool().Draw(t, "leaf") {
			depth--
			return leaf.Draw(t, "value")
		}
		defer func() { depth-- }()
		space := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "space")
		if rapid.Bool().Draw(t, "list") {
			return "[" + space + strings.Join(rapid.SliceOfN(value, 0, 3).Draw(t, "items"), space+","+space) + space + "]"
		}
		var fields []string
		for name, v := range rapid.MapOfN(rapid.String(), value, 0, 3).Draw(t, "fields") {
			fields = append(fields, quote(name)+space+":"+space+v)
		}
		return "{" + space + strings.Join(fields, space+","+space) + space + "}"
	})
	return value
}

func quote(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func TestJSONIsCutWhereItsValuesEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(anyJSON(), 1, 4).Draw(t, "values")
		var got []string
		require.NoError(t, eachElement([]byte("["+strings.Join(want, " , ")+"]"), func(value []byte) error {
			got = append(got, string(value))
			return nil
		}))
		require.Equal(t, want, got)

		fields, err := members([]byte(`{"a\u0062" : ` + want[0] + "}"))
		require.NoError(t, err)
		require.Equal(t, "ab", fields[0].name)
		require.Equal(t, want[0], string(fields[0].value))
		require.JSONEq(t, `{"ab":`+want[0]+"}", string(joinMembers(fields)))
	})
}

// What Flight Control's command line writes as YAML is read back as it was.
func TestYAMLOfFlightControlIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyJSON().Draw(t, "value")
		if strings.ContainsAny(want, "\u0085\u2028\u2029") {
			return // line breaks to YAML, which its printer leaves bare in quotes: they are lost before anyone reads them
		}
		text, err := sigsyaml.JSONToYAML([]byte(compact(t, want)))
		if err != nil {
			return // a control character that this cannot write
		}
		got, _, err := yamlToJSON(text, 0)
		require.NoError(t, err, string(text))
		require.Equal(t, compact(t, want), compact(t, string(got)), string(text))
	})
}

// compact gives equal JSON the same text, with the fields in order.
func compact(t require.TestingT, text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var value any
	require.NoError(t, d.Decode(&value))
	out, err := json.Marshal(value)
	require.NoError(t, err)
	return string(out)
}

// FuzzImport holds that whatever is read is whole: named resources with JSON that the database can take.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		webYAML, webJSON + edgeJSON, webYAML + "---\n" + edgeYAML, "\xef\xbb\xbf" + webJSON,
		`{"kind":"List","items":[` + webJSON + "]}",
		device("labels: {a: b}") + "spec: {n: 123456789012345678901234567890}\nstatus: {lastSeen: null}", laughs(),
		"a: &x {b: {<<: *x}}", "--- |\n  a\n...",
		"? [a]\n: b", "{a: b}", "[1,2", `{"a":"\ud800"}`, "a: !!binary x", "%TAG ! x\n---\n", "\xff\xfe",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		_, _ = Decode(bytes.NewReader(input), func(r Record) error {
			require.NotEmpty(t, r.Name)
			require.Contains(t, Kinds, r.Kind)
			text, err := json.Marshal(r)
			require.NoError(t, err)
			require.True(t, json.Valid(text))
			return nil
		})
	})
}
