package inventory_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"pgregory.net/rapid"

	"rollcall/inventory"
	"rollcall/inventory/selector"
	"rollcall/runbook"
)

// odd is a device as it may stand in a database: whatever can be missing is missing somewhere.
type odd struct {
	name         string
	alias, owner *string
	labels       map[string]string // nil is NULL
	created      time.Time
	status       *string
	lastSeen     *time.Time
}

var (
	labelKeys   = []string{"site", "env", "example.com/zone"}
	labelValues = []string{"a", "b", "", "5", "-7", "+3", "05", "99999999999999999999", "9223372036854775807", "x.y"}
	someTimes   = []time.Time{
		time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC), time.Date(2026, 8, 1, 10, 0, 0, 1000, time.UTC),
		time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	someTexts = []string{
		"Fleet/web", "Fleet/we", "a%_b", "axyb", "it's", "", `b\c,(d) e`, "Online", "Error", "5", "true", "null", "UpToDate",
		"Enrolled", "Healthy", "image",
	}
	// The last ones are none of Flight Control's forms; what is no string counts as not set.
	someStatuses = []string{
		"{}", `{"summary":{}}`, `{"summary":{"status":%s}}`, `{"summary":{"status":%s,"info":"x"},"updated":{"status":%s}}`,
		`{"lifecycle":{"status":%s}}`,
		`{"applicationsSummary":{"status":%s}}`, `{"capabilities":{"osMode":%s}}`, `{"summary":{"status":5}}`,
		`{"summary":{"status":null}}`, `{"summary":[%s]}`, `{"summary":"Online"}`, `[%s]`, `null`,
		`{"summary":{"status":true}}`,
	}
)

func anyOdd(i int) *rapid.Generator[odd] {
	return rapid.Custom(func(t *rapid.T) odd {
		d := odd{name: fmt.Sprintf("device-%03d", i), created: rapid.SampledFrom(someTimes).Draw(t, "created")}
		d.alias = rapid.Ptr(rapid.SampledFrom(someTexts), true).Draw(t, "alias")
		d.owner = rapid.Ptr(rapid.SampledFrom(someTexts), true).Draw(t, "owner")
		d.lastSeen = rapid.Ptr(rapid.SampledFrom(someTimes), true).Draw(t, "lastSeen")
		if rapid.IntRange(0, 5).Draw(t, "labelled") > 0 {
			d.labels = rapid.MapOfN(rapid.SampledFrom(labelKeys), rapid.SampledFrom(labelValues), 0, 3).Draw(t, "labels")
		}
		if rapid.IntRange(0, 5).Draw(t, "status") > 0 {
			text := rapid.SampledFrom(someStatuses).Draw(t, "form")
			for strings.Contains(text, "%s") {
				value, _ := json.Marshal(rapid.SampledFrom(someTexts).Draw(t, "value"))
				text = strings.Replace(text, "%s", string(value), 1)
			}
			d.status = &text
		}
		return d
	})
}

// openOdd opens a database with many odd devices.
func openOdd(t *testing.T) (*inventory.Store, []odd) {
	store := openImported(t)
	devices := make([]odd, 300)
	for i := range devices {
		d := anyOdd(i).Example(i)
		devices[i] = d
		var labels *string
		if d.labels != nil {
			text, err := json.Marshal(d.labels)
			require.NoError(t, err)
			labels = new(string(text))
		}
		store.DB().MustExec(`insert into devices (org_id, name, alias, owner, labels, created_at, status) values ($1, $2, $3,
			$4, $5, $6, $7)`,
			runbook.DefaultOrgID, d.name, d.alias, d.owner, labels, d.created, d.status)
		store.DB().MustExec(`update device_timestamps set last_seen = $3 where org_id = $1 and name = $2`,
			runbook.DefaultOrgID, d.name, d.lastSeen)
	}
	return store, devices
}

func matching(devices []odd, matches func(odd) bool) []string {
	names := []string{}
	for _, d := range devices {
		if matches(d) {
			names = append(names, d.name)
		}
	}
	return names
}

func TestLabelSelectorsSelectAsInKubernetes(t *testing.T) {
	t.Parallel()
	store, devices := openOdd(t)
	operators := []selection.Operator{
		selection.In, selection.NotIn, selection.Equals, selection.DoubleEquals, selection.NotEquals,
		selection.Exists, selection.DoesNotExist, selection.GreaterThan, selection.LessThan,
	}
	rapid.Check(t, func(rt *rapid.T) {
		selector := labels.NewSelector()
		for range rapid.IntRange(0, 3).Draw(rt, "terms") {
			operator := rapid.SampledFrom(operators).Draw(rt, "operator")
			key := rapid.SampledFrom(append(slices.Clone(labelKeys), "none")).Draw(rt, "key")
			values := rapid.SliceOfN(rapid.SampledFrom(labelValues), 0, 3).Draw(rt, "values")
			if r, err := labels.NewRequirement(key, operator, values); err == nil {
				selector = selector.Add(*r)
			}
		}
		got, err := store.Devices(t.Context(), inventory.Query{Labels: selector})
		require.NoError(rt, err, selector)
		want := matching(devices, func(d odd) bool { return selector.Matches(labels.Set(d.labels)) })
		require.Equal(rt, want, deviceNames(got), selector)
	})
}

func TestFieldSelectorsSelectWhatTheySay(t *testing.T) {
	t.Parallel()
	store, devices := openOdd(t)
	rapid.Check(t, func(rt *rapid.T) {
		var terms []term
		for range rapid.IntRange(0, 3).Draw(rt, "terms") {
			terms = append(terms, rapid.Custom(anyTerm).Draw(rt, "term"))
		}
		texts := make([]string, len(terms))
		for i, term := range terms {
			texts[i] = term.String()
		}
		fields, err := selector.ParseFieldSelector("devices", strings.Join(texts, ","))
		require.NoError(rt, err)
		got, err := store.Devices(t.Context(), inventory.Query{Fields: fields})
		require.NoError(rt, err, fields)
		want := matching(devices, func(d odd) bool {
			return !slices.ContainsFunc(terms, func(t term) bool { return !t.matches(d) })
		})
		require.Equal(rt, want, deviceNames(got), fields.String())
	})
}
