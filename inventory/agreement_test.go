package inventory_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/inventory"
	"rollcall/runbook"
)

// The SQL and runbook must say the same of who is eligible, whatever is in the row.
func TestSQLAndRunbookAgreeOnWhoIsEligible(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	lifecycles := append([]string{"", "Enrolled", "Unknown", "decommissioned", "Decommissioned "},
		runbook.IneligibleLifecycles...)
	eligible := map[string]bool{}
	for _, lifecycle := range lifecycles {
		for _, deleted := range []bool{false, true} {
			d := versioned(fmt.Sprintf("%q-%v", lifecycle, deleted), "5")
			status, err := json.Marshal(map[string]any{"lifecycle": map[string]string{"status": lifecycle}})
			require.NoError(t, err)
			d.Status = ptr(string(status))
			if deleted {
				d.DeletedAt = ptr(time.Now())
			}
			d.create(t, store)
			eligible[d.Name] = runbook.Eligible(deleted, lifecycle)
		}
	}
	restored(t, store)
	for name, want := range eligible {
		require.Equal(t, want, count(t, store, `select count(*) from rollcall.roll where name = $1`, name) == 1, name)
	}
	require.Len(t, eligible, 2*len(lifecycles))
}

func TestSQLAndRunbookAgreeOnStates(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	keys := rapid.SampledFrom([]string{runbook.AnnotationAwaitingReconnect, runbook.AnnotationConflictPaused, "other", ""})
	values := rapid.SampledFrom([]string{"true", "false", "True", " true", "", "1"})
	rapid.Check(t, func(t *rapid.T) {
		annotations := rapid.MapOf(keys, values).Draw(t, "annotations")
		text, err := json.Marshal(annotations)
		require.NoError(t, err)
		require.Equal(t, string(runbook.StateOf(annotations)),
			*readString(t, store, `select rollcall.device_state(cast($1 as jsonb))`, string(text)))
	})
	require.Equal(t, string(runbook.StateOf(nil)), *readString(t, store, `select rollcall.device_state(null)`))
}

// Documents of any shape go through T1, T3 and T4 and lose nothing but the keys that these name.
func TestWhatWeDoNotUnderstandSurvives(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			n := 0
			rapid.Check(t, func(rt *rapid.T) {
				n++
				d := device{Name: fmt.Sprint("d", n), Annotations: ptr(anyAnnotations(rt)), Status: ptr(anyStatus(rt))}.create(rt,
					store)
				id := fmt.Sprint("r", n)
				openRestore(t, store, id)
				putAll(t, store, id)
				own := runbookKeys(d)
				_, err := store.Reconnect(t.Context(),
					inventory.ReconnectInput{RestoreID: id, OrgID: d.OrgID, Name: d.Name, Reported: "9223372036854775806"})
				require.NoError(rt, err)
				got, err := store.Resume(t.Context(), inventory.ResumeInput{RestoreID: id, OrgID: d.OrgID, Name: d.Name, By: "bob"})
				require.NoError(rt, err)
				require.True(rt, got.Applied, "%v", got.Refusal)

				after := readDevice(rt, store, d.OrgID, d.Name)
				for i, doc := range []struct{ before, after string }{
					{*d.Annotations, *after.Annotations}, {*d.Status, *after.Status},
				} {
					requireSameJSON(rt, store, *readString(rt, store, without, doc.before, own[i]),
						*readString(rt, store, without, doc.after, own[i]))
				}
				require.Equal(rt, "Online",
					*readString(rt, store, `select cast($1 as jsonb) -> 'summary' ->> 'status'`, *after.Status))
				store.DB().MustExec(`delete from devices`)
			})
		})
	}
}

// without is a document without the keys and the keys of keys that the transitions write; $2 names them, "a/b" one in
// a.
const without = `
select coalesce(jsonb_object_agg(k.key, case jsonb_typeof(k.value) when 'object' then (
    select coalesce(jsonb_object_agg(i.key, i.value), '{}') from jsonb_each(k.value) i
    where k.key || '>' || i.key <> all (string_to_array($2, ' ')))
    else k.value end), '{}')
from jsonb_each(case jsonb_typeof(cast($1 as jsonb)) when 'object' then cast($1 as jsonb) else '{}' end) k
where k.key <> all (string_to_array($2, ' '))`

// runbookKeys are the keys that T1, T3 and T4 write or drop. Of the status, updated is replaced as a whole, and so is a
// part that is no object.
func runbookKeys(d device) []string {
	status := "summary>status summary>info updated config>renderedVersion"
	var parts map[string]json.RawMessage
	_ = json.Unmarshal([]byte(*d.Status), &parts)
	for _, part := range []string{"summary", "config"} {
		if v := parts[part]; len(v) == 0 || v[0] != '{' {
			status += " " + part
		}
	}
	return []string{
		runbook.AnnotationAwaitingReconnect + " " + runbook.AnnotationConflictPaused + " " +
			runbook.AnnotationRenderedSpecHash, status,
	}
}

func anyAnnotations(t *rapid.T) string {
	keys := rapid.OneOf(rapid.SampledFrom([]string{
		runbook.AnnotationAwaitingReconnect, runbook.AnnotationConflictPaused, runbook.AnnotationRenderedSpecHash,
		runbook.AnnotationRenderedVersion, "fleet-controller/templateVersion",
	}), word())
	text, err := json.Marshal(rapid.MapOf(keys, rapid.OneOf(rapid.SampledFrom([]string{"true", "5", ""}), word())).Draw(t,
		"annotations"))
	require.NoError(t, err)
	return string(text)
}

func anyStatus(t *rapid.T) string {
	parts := map[string]json.RawMessage{}
	for _, part := range []string{"summary", "updated", "config", "systemInfo", "", "summary>status"} {
		if rapid.Bool().Draw(t, "has "+part) {
			parts[part] = json.RawMessage(anyValue(t, 3))
		}
	}
	text, err := json.Marshal(parts)
	require.NoError(t, err)
	return string(text)
}

func anyValue(t *rapid.T, depth int) string {
	kinds := []string{"null", "true", "12345678901234567890123456789.000", "1e3", "string", "array", "object", "object"}
	if depth == 0 {
		kinds = kinds[:5]
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "string":
		text, _ := json.Marshal(word().Draw(t, "text"))
		return string(text)
	case "array":
		return "[" + anyValue(t, depth-1) + "," + anyValue(t, depth-1) + "]"
	case "object":
		parts := map[string]json.RawMessage{}
		for range rapid.IntRange(0, 3).Draw(t, "keys") {
			key := rapid.OneOf(rapid.SampledFrom([]string{"status", "info", "renderedVersion", ""}), word()).Draw(t, "key")
			parts[key] = json.RawMessage(anyValue(t, depth-1))
		}
		text, _ := json.Marshal(parts)
		return string(text)
	default:
		return kind
	}
}

// word is text that PostgreSQL can hold: it has no zero byte and no surrogate of its own.
func word() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-zA-Z0-9 ."'\\/:%{}$,ä世-]{0,8}`)
}
