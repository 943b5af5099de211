package inventory_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/inventory/selector"
	"rollcall/runbook"
)

// openImported opens a fresh database with what documents hold.
func openImported(t *testing.T, documents ...string) *inventory.Store {
	t.Helper()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	if len(documents) > 0 {
		_, err = store.Import(t.Context(), strings.NewReader(strings.Join(documents, "\n---\n")), inventory.ImportOptions{})
		require.NoError(t, err)
	}
	return store
}

// document is a resource whose metadata, spec and status are YAML in the flow style.
func document(kind, metadata, spec, status string) string {
	return fmt.Sprintf("apiVersion: flightctl.io/v1beta1\nkind: %s\nmetadata: {%s}\nspec: {%s}\nstatus: {%s}", kind,
		metadata, spec, status)
}

func deviceNames(resources []inventory.Resource) []string {
	names := []string{}
	for _, r := range resources {
		names = append(names, r.Metadata.Name)
	}
	return names
}

func mustFields(t testing.TB, kind, text string) selector.FieldSelector {
	t.Helper()
	fields, err := selector.ParseFieldSelector(kind, text)
	require.NoError(t, err)
	return fields
}

func mustLabels(t testing.TB, selector string) labels.Selector {
	t.Helper()
	parsed, err := labels.Parse(selector)
	require.NoError(t, err)
	return parsed
}

func TestDevicesAreShownInTheAPIForm(t *testing.T) {
	t.Parallel()
	store := openImported(t, document("Device",
		`name: web-1, owner: Fleet/web, labels: {site: berlin}, annotations: {a: "1"}, generation: 3, resourceVersion: "12", creationTimestamp: "2026-08-01T10:00:00Z"`,
		`n: 123456789012345678901234567890`, `lastSeen: "2026-07-01T10:00:00.5Z", summary: {status: Online}`))
	devices, err := store.Devices(t.Context(), inventory.Query{})
	require.NoError(t, err)
	text, err := json.Marshal(inventory.List(inventory.KindDevice, devices))
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"flightctl.io/v1beta1","kind":"DeviceList","metadata":{},"items":[{
		"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"web-1","owner":"Fleet/web","labels":{"site":"berlin"},
		"annotations":{"a":"1"},"generation":3,"resourceVersion":"12","creationTimestamp":"2026-08-01T10:00:00Z"},
		"spec":{"n":123456789012345678901234567890},"status":{"lastSeen":"2026-07-01T10:00:00.5Z","summary":{"status":"Online"}}}]}`, string(text))
	require.Contains(t, string(text), `"n":123456789012345678901234567890`)
}

func TestAnEmptyListHasItems(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(inventory.List[inventory.Event](inventory.KindEvent, nil))
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"flightctl.io/v1beta1","kind":"EventList","metadata":{},"items":[]}`, string(text))
}

func TestLastSeenIsThatOfItsTable(t *testing.T) {
	t.Parallel()
	store := openImported(t, document("Device", "name: none", "", ""), document("Device", "name: stale", "", ""),
		document("Device", "name: text", "", ""))
	store.DB().MustExec(`update devices set status = '{"lastSeen": "2026-01-01T00:00:00Z", "a": 1}' where name = 'stale'`)
	store.DB().MustExec(`update devices set status = '"odd"' where name = 'text'`)
	store.DB().MustExec(`update devices set status = null where name = 'none'`)
	store.DB().MustExec(`update device_timestamps set last_seen = '2026-08-01T10:00:00Z' where name in ('none', 'text')`)
	devices, err := store.Devices(t.Context(), inventory.Query{})
	require.NoError(t, err)
	require.Equal(t, []string{"none", "stale", "text"}, deviceNames(devices))
	require.JSONEq(t, `{"lastSeen":"2026-08-01T10:00:00Z"}`, string(devices[0].Status))
	require.JSONEq(t, `{"a":1}`, string(devices[1].Status))
	require.JSONEq(t, `"odd"`, string(devices[2].Status))
}

func TestAQueryCombinesWhatItAsksFor(t *testing.T) {
	t.Parallel()
	const otherOrg = "00000000-0000-0000-0000-000000000001"
	store := openImported(t,
		document("Device", "name: web-2, owner: Fleet/web, labels: {env: prod}", "", "summary: {status: Online}"),
		document("Device", "name: web-1, owner: Fleet/web, labels: {env: prod}", "", "summary: {status: Error}"),
		document("Device", "name: web-3, labels: {env: test}", "", ""),
		document("Device", `name: gone, deletionTimestamp: "2026-08-01T10:00:00Z"`, "", ""))
	store.DB().MustExec(`insert into organizations (id, display_name) values ($1, 'other')`, otherOrg)
	_, err := store.Import(t.Context(), strings.NewReader(document("Device", "name: web-9", "", "")),
		inventory.ImportOptions{OrgID: otherOrg})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		query inventory.Query
		want  []string
	}{
		"everything, by name, without deleted ones": {inventory.Query{}, []string{"web-1", "web-2", "web-3"}},
		"another organisation":                      {inventory.Query{OrgID: otherOrg}, []string{"web-9"}},
		"a limit":                                   {inventory.Query{Limit: 2}, []string{"web-1", "web-2"}},
		"names": {
			inventory.Query{Names: []string{"web-3", "gone", "none"}}, []string{"web-3"},
		},
		"labels": {
			inventory.Query{Labels: mustLabels(t, "env=prod")}, []string{"web-1", "web-2"},
		},
		"nothing": {inventory.Query{Labels: labels.Nothing()}, []string{}},
		"fields": {
			inventory.Query{Fields: mustFields(t, "devices", "metadata.owner=Fleet/web")}, []string{"web-1", "web-2"},
		},
		"all at once": {inventory.Query{
			Names: []string{"web-1", "web-2", "web-3"}, Labels: mustLabels(t, "env in (prod,test)"),
			Fields: mustFields(t, "devices", "status.summary.status!=Online,metadata.owner"), Limit: 5,
		}, []string{"web-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			devices, err := store.Devices(t.Context(), c.query)
			require.NoError(t, err)
			require.Equal(t, c.want, deviceNames(devices))
		})
	}
}

func TestFleetsAndEnrollmentRequestsAreRead(t *testing.T) {
	t.Parallel()
	store := openImported(t,
		document("Fleet", "name: web", "selector: {matchLabels: {a: b}}", ""), document("Fleet", "name: edge", "", ""),
		document("EnrollmentRequest", "name: r1", "csr: x", "approval: {approved: true}"),
		document("EnrollmentRequest", "name: r2", "", "approval: {approved: false}"),
		document("EnrollmentRequest", "name: r3", "", ""))
	fleets, err := store.Fleets(t.Context(), inventory.Query{Fields: mustFields(t, "fleets", "metadata.name=web")})
	require.NoError(t, err)
	require.Equal(t, []string{"web"}, deviceNames(fleets))
	require.Equal(t, "Fleet", fleets[0].Kind)
	require.JSONEq(t, `{"selector":{"matchLabels":{"a":"b"}}}`, string(fleets[0].Spec))
	for selector, want := range map[string][]string{
		"status.approval.approved=true": {"r1"}, "status.approval.approved!=true": {"r2", "r3"},
		"status.approval.approved in (true,false)": {"r1", "r2"},
		"status.approval.approved":                 {"r1", "r2"}, "!status.approval.approved": {"r3"},
		"metadata.name notin (r1,r2)": {"r3"},
	} {
		requests, err := store.EnrollmentRequests(t.Context(),
			inventory.Query{Fields: mustFields(t, "enrollmentrequests", selector)})
		require.NoError(t, err)
		require.Equal(t, want, deviceNames(requests), selector)
	}
}

func TestEventsAreReadNewestFirst(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	store.DB().MustExec(`insert into events (org_id, name, created_at, reason, source_component, actor, type, message,
		details, involved_object_kind, involved_object_name)
		select $1, 'e' || n, timestamptz '2026-08-01T10:00:00Z' + n * interval '1 s', 'DeviceConflictPaused', 'rollcall',
		'user:alice', 'Warning', 'm', '{"a": 1}', 'Device', 'web-' || n
		from generate_series(1, 3) n`, runbook.DefaultOrgID)
	store.DB().MustExec(`insert into events (org_id, name, created_at) values ($1, 'bare', '2026-01-01T00:00:00Z')`,
		runbook.DefaultOrgID)
	events, err := store.Events(t.Context(), inventory.Query{Limit: 2})
	require.NoError(t, err)
	text, err := json.Marshal(events[0])
	require.NoError(t, err)
	require.JSONEq(t,
		`{"apiVersion":"flightctl.io/v1beta1","kind":"Event","metadata":{"name":"e3","creationTimestamp":"2026-08-01T10:00:03Z"},
		"involvedObject":{"kind":"Device","name":"web-3"},"reason":"DeviceConflictPaused","type":"Warning","source":{"component":"rollcall"},
		"actor":"user:alice","message":"m","details":{"a":1}}`, string(text))
	require.Equal(t, "e2", events[1].Metadata.Name)
	for selector, want := range map[string]int{
		"involvedObject.name=web-2,involvedObject.kind=Device": 1, "type=Warning,actor contains alice": 3, "!reason": 1,
	} {
		events, err := store.Events(t.Context(), inventory.Query{Fields: mustFields(t, "events", selector)})
		require.NoError(t, err)
		require.Len(t, events, want, selector)
	}
}

func TestAFieldSelectorOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	_, err := store.Fleets(t.Context(), inventory.Query{Fields: mustFields(t, "devices", "metadata.name=a")})
	require.ErrorContains(t, err, `the field selector "metadata.name=a" is one for devices`)
}

func TestAQueryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.Devices(ctx, inventory.Query{})
	require.ErrorIs(t, err, context.Canceled)
}

// What a table shows is the same whether the rest was read or not, also of a status that is none.
func TestBriefDevicesLackOnlyWhatATableDoesNotShow(t *testing.T) {
	t.Parallel()
	store := openImported(t,
		document("Device", `name: a, owner: Fleet/web, labels: {alias: till}, annotations: {x: "1"}`, `os: {image: i}`,
			`lastSeen: "2026-07-01T10:00:00Z", summary: {status: Online, info: fine}, updated: {status: UpToDate}, applicationsSummary: {status: Healthy}, os: {image: i}`),
		document("Device", `name: b`, ``, `summary: {status: Unknown}`))
	for i, status := range []string{`'[1]'`, `'"x"'`, `'null'`, `null`} {
		versioned(fmt.Sprint("c", i), "5").create(t, store)
		store.DB().MustExec(`update devices set status = `+status+` where name = $1`, fmt.Sprint("c", i))
	}
	whole, err := store.Devices(t.Context(), inventory.Query{})
	require.NoError(t, err)
	brief, err := store.Devices(t.Context(), inventory.Query{Brief: true})
	require.NoError(t, err)
	require.Len(t, brief, 6)
	shown := func(r inventory.Resource) map[string]any {
		var status any
		if len(r.Status) > 0 {
			require.NoError(t, json.Unmarshal(r.Status, &status))
		}
		parts, _ := status.(map[string]any)
		return map[string]any{
			"name": r.Metadata.Name, "owner": r.Metadata.Owner, "labels": r.Metadata.Labels,
			"version": r.Metadata.ResourceVersion,
			"summary": parts["summary"], "updated": parts["updated"], "applications": parts["applicationsSummary"],
			"seen": parts["lastSeen"],
		}
	}
	for i := range whole {
		require.Equal(t, shown(whole[i]), shown(brief[i]))
		require.Nil(t, brief[i].Spec)
		require.Nil(t, brief[i].Metadata.Annotations)
	}
	require.NotContains(t, string(brief[0].Status), "image")
	require.Equal(t, "fine", shown(brief[0])["summary"].(map[string]any)["info"])
}

func TestFleetsAndRequestsAreSelectedByTheirOwnFields(t *testing.T) {
	t.Parallel()
	store := openImported(t, document("Fleet", "name: old", "template: {spec: {os: {image: 'quay.io/os:1'}}}", ""),
		document("Fleet", "name: new", "template: {spec: {os: {image: 'quay.io/os:2'}}}", ""),
		document("Fleet", "name: none", "", ""),
		document("EnrollmentRequest", "name: signed", "", "certificate: PEM"),
		document("EnrollmentRequest", "name: pending", "", ""))
	for fields, want := range map[string][]string{
		"spec.template.spec.os.image=quay.io/os:1":      {"old"},
		"spec.template.spec.os.image!=quay.io/os:1":     {"new", "none"},
		"spec.template.spec.os.image contains os:":      {"new", "old"},
		"spec.template.spec.os.image in (quay.io/os:2)": {"new"},
		"!spec.template.spec.os.image":                  {"none"},
	} {
		fleets, err := store.Fleets(t.Context(), inventory.Query{Fields: mustFields(t, "fleets", fields)})
		require.NoError(t, err)
		require.Equal(t, want, deviceNames(fleets), fields)
	}
	for fields, want := range map[string]string{
		"status.certificate": "signed", "!status.certificate": "pending", "status.certificate=PEM": "signed",
	} {
		requests, err := store.EnrollmentRequests(t.Context(),
			inventory.Query{Fields: mustFields(t, "enrollmentrequests", fields)})
		require.NoError(t, err)
		require.Equal(t, []string{want}, deviceNames(requests), fields)
	}
}
