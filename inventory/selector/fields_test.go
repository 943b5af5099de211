package selector

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/runbook"
)

func TestParseFieldSelectorReadsEveryOperator(t *testing.T) {
	t.Parallel()
	for selector, want := range map[string]fieldRequirement{
		"metadata.owner=Fleet/web":                {"metadata.owner", opEquals, []string{"Fleet/web"}},
		"metadata.owner==Fleet/web":               {"metadata.owner", opEquals, []string{"Fleet/web"}},
		" metadata.owner != Fleet/web ":           {"metadata.owner", opNotEquals, []string{"Fleet/web"}},
		"metadata.alias=":                         {"metadata.alias", opEquals, []string{""}},
		"metadata.alias=a=b:c!d":                  {"metadata.alias", opEquals, []string{"a=b:c!d"}},
		`metadata.alias=north\ gate\,\ \(2\)\ \\`: {"metadata.alias", opEquals, []string{`north gate, (2) \`}},
		"metadata.name in (a, b ,c)":              {"metadata.name", opIn, []string{"a", "b", "c"}},
		"metadata.name notin(a)":                  {"metadata.name", opNotIn, []string{"a"}},
		"metadata.name contains web":              {"metadata.name", opContains, []string{"web"}},
		"metadata.name notcontains web":           {"metadata.name", opNotContains, []string{"web"}},
		"metadata.owner":                          {"metadata.owner", opExists, nil},
		"metadata.owner exists":                   {"metadata.owner", opExists, nil},
		"!metadata.owner":                         {"metadata.owner", opNotExists, nil},
		"! metadata.owner":                        {"metadata.owner", opNotExists, nil},
		"metadata.creationTimestamp>=2026-08-01T10:00:00Z": {
			"metadata.creationTimestamp", opNotBefore, []string{"2026-08-01T10:00:00Z"},
		},
		"metadata.creationTimestamp < 2026-08-01T10:00:00.5Z": {
			"metadata.creationTimestamp", opBefore, []string{"2026-08-01T10:00:00.5Z"},
		},
		"metadata.creationTimestamp<=2026-08-01T10:00:00+02:00": {
			"metadata.creationTimestamp", opNotAfter, []string{"2026-08-01T10:00:00+02:00"},
		},
		"status.summary.status=AwaitingReconnect": {
			"status.summary.status", opEquals, []string{"AwaitingReconnect"},
		},
		"status.summary.status in (PoweredOff,Error)": {
			"status.summary.status", opIn, []string{"PoweredOff", "Error"},
		},
		"status.summary.status contains Pow": {"status.summary.status", opContains, []string{"Pow"}},
		`metadata.alias=\=a`:                 {"metadata.alias", opEquals, []string{"=a"}},
	} {
		t.Run(selector, func(t *testing.T) {
			t.Parallel()
			got, err := ParseFieldSelector("devices", selector)
			require.NoError(t, err)
			require.Equal(t, []fieldRequirement{want}, got.requirements)
		})
	}
}

func TestParseFieldSelectorReadsSeveralTermsOrNone(t *testing.T) {
	t.Parallel()
	got, err := ParseFieldSelector("devices", "metadata.owner in (Fleet/web,Fleet/edge),!metadata.alias,metadata.name!=x")
	require.NoError(t, err)
	require.Len(t, got.requirements, 3)
	for _, selector := range []string{"", " \t"} {
		got, err := ParseFieldSelector("devices", selector)
		require.NoError(t, err)
		require.True(t, got.Empty())
	}
}

func TestParseFieldSelectorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, selector, message string }{
		{
			"devices", "metadata.nmae=x",
			`unable to resolve selector name "metadata.nmae". Supported selectors for devices are: ` +
				`metadata.alias, metadata.creationTimestamp, metadata.name, metadata.nameOrAlias, metadata.owner, ` +
				`status.applicationsSummary.status, status.capabilities.osMode, status.lifecycle.status, status.summary.status, ` +
				`status.updated.status`,
		},
		{"fleets", "status.lastSeen", "Supported selectors for fleets are: metadata.creationTimestamp, metadata.name, " +
			"metadata.owner, spec.template.spec.os.image"},
		{"devices", "status.lastSeen<2026-08-01T10:00:00Z", `unable to resolve selector name "status.lastSeen"`},
		{
			"devices", "status.summary.status=AwaitingReconect",
			`status.summary.status is never "AwaitingReconect"; it is one of: Online, Degraded, Error, Rebooting, ` +
				`PoweredOff, Unknown, AwaitingReconnect, ConflictPaused`,
		},
		{
			"devices", "status.updated.status!=Online",
			`status.updated.status is never "Online"; it is one of: UpToDate, OutOfDate, Updating, Unknown`,
		},
		{"devices", "status.lifecycle.status in (Enrolled,enrolled)", `status.lifecycle.status is never "enrolled"`},
		{"devices", "status.applicationsSummary.status notin (x)", `status.applicationsSummary.status is never "x"`},
		{"devices", "status.capabilities.osMode=", `status.capabilities.osMode is never ""; it is one of: image, package`},
		{"events", "metadata.owner=x", "Supported selectors for events are: actor, involvedObject.kind, " +
			"involvedObject.name, metadata.creationTimestamp, metadata.name, reason, type"},
		{"repositories", "metadata.name=x", `there are no field selectors on "repositories"`},
		{"devices", "metadata.name>x", `operator ">" is unsupported for "metadata.name", which is a string`},
		{"devices", "metadata.creationTimestamp " +
			"contains 2026", `operator "contains" is unsupported for "metadata.creationTimestamp", which is a timestamp`},
		{
			"devices", "metadata.creationTimestamp>yesterday",
			`failed to parse value for selector "metadata.creationTimestamp": "yesterday" ` +
				`is not a time such as 2026-08-01T10:00:00Z`,
		},
		{"enrollmentrequests", "status.approval.approved=maybe", `"maybe" is neither true nor false`},
		{"devices", "metadata.name=a metadata.owner=b", "found 'metadata.owner=b', expected: ',' or end of string"},
		{"devices", "metadata.name=a,", "found '', expected: identifier"},
		{"devices", "metadata.name is a", "found 'is', expected: one of == != >= <= = > < in notin"},
		{"devices", "metadata.name in a", "found 'a', expected: '('"},
		{"devices", "metadata.name in (a", "found '', expected: ',' or ')'"},
		{"devices", "metadata.name=a(b)", "found '(b)', expected: ',' or end of string"},
		{"devices", "!metadata.name=a", "found '=a', expected: ',' or end of string"},
		{"devices", "=a", "found '=a', expected: identifier"},
		{"devices", "metadata.name=a\xff", "it is not text in UTF-8"},
		{"devices", "metadata.name=a\x00", "it is not text in UTF-8"},
	} {
		t.Run(c.selector, func(t *testing.T) {
			t.Parallel()
			_, err := ParseFieldSelector(c.kind, c.selector)
			require.ErrorContains(t, err, c.message)
			require.ErrorContains(t, err, "invalid field selector")
			require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(err).Code)
		})
	}
}

func TestFieldSelectorIsReadBackFromItsString(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := FieldSelector{
			kind: "devices", requirements: rapid.SliceOf(rapid.Custom(anyRequirement)).Draw(t, "requirements"),
		}
		got, err := ParseFieldSelector("devices", want.String())
		require.NoError(t, err, want.String())
		require.ElementsMatch(t, want.requirements, got.requirements)
	})
}

// anyRequirement draws a term on a field of devices, with an operator that the field has and values of its type.
func anyRequirement(t *rapid.T) fieldRequirement {
	path := rapid.SampledFrom(SelectableFields("devices")).Draw(t, "path")
	kind := selectable["devices"][path].kind
	r := fieldRequirement{path: path, operator: rapid.SampledFrom(operatorsOf[kind]).Draw(t, "operator")}
	value := rapid.OneOf(rapid.StringMatching(`[^\x00]*`), rapid.StringMatching(`[=!<>(),\\ a]{0,3}`))
	if values := selectable["devices"][path].values; values != nil && !strings.HasSuffix(r.operator, opContains) {
		value = rapid.SampledFrom(values)
	}
	if kind == timeField {
		value = rapid.SampledFrom([]string{"2026-08-01T10:00:00Z", "1999-12-31T23:59:59.123456+02:00"})
	}
	switch r.operator {
	case opExists, opNotExists:
	case opIn, opNotIn:
		r.values = rapid.SliceOfN(value, 1, 3).Draw(t, "values")
	default:
		r.values = []string{value.Draw(t, "value")}
	}
	return r
}

// FuzzParseFieldSelector holds that any input is either refused or read as something that is written and read back
// alike.
func FuzzParseFieldSelector(f *testing.F) {
	for _, seed := range []string{
		"", "metadata.owner=Fleet/web", "metadata.name in (a,b),!metadata.owner", `metadata.alias=a\,b`,
		"metadata.creationTimestamp>2026-08-01T10:00:00Z",
		"metadata.name contains \\", "metadata.name=((", "!!metadata.name", "metadata.name==", "metadata.name notin (,)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, selector string) {
		got, err := ParseFieldSelector("devices", selector)
		if err != nil {
			require.NotNil(t, runbook.AsRefusal(err))
			return
		}
		again, err := ParseFieldSelector("devices", got.String())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
