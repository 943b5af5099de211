package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

func importText(t *testing.T, store *inventory.Store, text string,
	opts inventory.ImportOptions,
) (inventory.ImportResult, error) {
	t.Helper()
	return store.Import(t.Context(), strings.NewReader(text), opts)
}

// rows counts what the inventory holds.
func rows(t *testing.T, store *inventory.Store) (n int) {
	t.Helper()
	require.NoError(t,
		store.DB().Get(&n,
			`select (select count(*) from devices) + (select count(*) from fleets) + (select count(*)
				from enrollment_requests)`))
	return n
}

func TestImportStoresEveryKind(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	result, err := importText(t, store, strings.Join([]string{
		document("Device",
			`name: web-1, owner: Fleet/web, labels: {site: berlin, alias: gate}, deletionTimestamp: "2026-08-01T10:00:00Z"`, "",
			`lastSeen: "2026-07-01T10:00:00Z"`),
		document("Device", "name: web-2", "", ""), document("Fleet", "name: web", "", ""),
		document("EnrollmentRequest", "name: r1", "", ""),
	}, "\n---\n"), inventory.ImportOptions{})
	require.NoError(t, err)
	require.Len(t, result.Unsignable, 1, "r1 holds no signing request")
	require.Equal(t, "r1", result.Unsignable[0].Name)
	require.Equal(t, runbook.UnsignableMalformed, result.Unsignable[0].Reason)
	result.Unsignable = nil
	require.Equal(t, inventory.ImportResult{Devices: 2, Fleets: 1, EnrollmentRequests: 1}, result)
	var got string
	require.NoError(t,
		store.DB().Get(&got,
			`select concat_ws('|', d.owner, d.alias, d.labels, d.annotations, d.generation, d.resource_version, d.status,
				d.deleted_at at time zone 'UTC',
		t.last_seen at time zone 'UTC', l.label_key || '=' || l.label_value,
		d.created_at is not null, d.updated_at is not null)
		from devices d join device_timestamps t using (org_id, name) join device_labels l on l.device_name = d.name
		and l.label_key = 'site' where d.name = 'web-1'`))
	require.Equal(t,
		`Fleet/web|gate|{"site": "berlin", "alias": "gate"}|1|1|{}|2026-08-01 10:00:00|2026-07-01 10:00:00|site=berlin|t|t`,
		got)
}

func TestImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	many := ""
	for i := range 1000 { // a whole batch, inserted before the bad one is read
		many += document("Device", fmt.Sprintf("name: web-%d", i), "", "") + "\n---\n"
	}
	for name, bad := range map[string]struct{ document, message string }{
		"a wrong field": {
			document("Device", "name: bad, owner: web", "", ""),
			`import: document 1001 (Device "bad"): metadata.owner: "web" is not of the form KIND/NAME`,
		},
		"twice": {
			document("Device", "name: web-3", "", ""),
			`import: document 1001 (Device "web-3"): metadata.name: stands twice in the input, first as document 4`,
		},
		"what no JSONB is": {
			document("Device", "name: bad", `a: "\0"`, ""),
			`import: document 1001 (Device "bad"): spec.a: holds a NUL character (\u0000), which the database cannot store`,
		},
		"a boundless number": {
			`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"bad"},"spec":{"a":1e999999}}`,
			`import: document 1001 (Device "bad"): spec.a: the number's exponent is beyond 400`,
		},
		"a broken end": {"{", "import: document 1001: "},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := importText(t, store, many+bad.document, inventory.ImportOptions{})
			require.ErrorContains(t, err, bad.message)
			require.Zero(t, result)
			require.Zero(t, rows(t, store))
		})
	}
	broken := io.MultiReader(strings.NewReader(many), iotest.ErrReader(errors.New("disk on fire")))
	_, err := store.Import(t.Context(), broken, inventory.ImportOptions{})
	require.ErrorContains(t, err, "disk on fire")
	require.Zero(t, rows(t, store))
}

func TestImportRefusesWhatIsThere(t *testing.T) {
	t.Parallel()
	store := openImported(t,
		document("Device", "name: web-1", "", `summary: {status: Online}, lastSeen: "2026-07-01T10:00:00Z"`),
		document("Device", `name: gone, deletionTimestamp: "2026-08-01T10:00:00Z"`, "", ""),
		document("Fleet", "name: web", "", ""))
	fresh := document("Device", "name: a", "", "") + "\n---\n"
	for _, c := range []struct{ document, message string }{
		{document("Device", "name: web-1", "", ""), `document 2 (Device "web-1"): metadata.name: exists already`},
		{document("Device", "name: gone", "", ""), `document 2 (Device "gone"): metadata.name: exists already`},
		{document("Fleet", "name: web", "", ""), `document 2 (Fleet "web"): metadata.name: exists already`},
	} {
		_, err := importText(t, store, fresh+c.document, inventory.ImportOptions{})
		require.ErrorContains(t, err, c.message)
		require.Equal(t, 3, rows(t, store))
	}
}

func TestImportSkipsWhatIsThereIfAsked(t *testing.T) {
	t.Parallel()
	store := openImported(t, document("Device", "name: web-1", "a: 1", `lastSeen: "2026-07-01T10:00:00Z"`))
	result, err := importText(t, store,
		document("Device", "name: web-1", "a: 2", `lastSeen: "2026-08-01T10:00:00Z"`)+"\n---\n"+
			document("Device", "name: web-2", "", ""),
		inventory.ImportOptions{SkipExisting: true})
	require.NoError(t, err)
	require.Equal(t, inventory.ImportResult{Devices: 1, Skipped: 1}, result)
	devices, err := store.Devices(t.Context(), inventory.Query{})
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1}`, string(devices[0].Spec))
	require.JSONEq(t, `{"lastSeen":"2026-07-01T10:00:00Z"}`, string(devices[0].Status))
}

func TestImportNeedsAnInputAndAnOrganisation(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	_, err := importText(t, store, "# nothing\n---\n", inventory.ImportOptions{})
	require.ErrorContains(t, err, "there is nothing to import")
	_, err = importText(t, store, document("Device", "name: web-1", "", ""),
		inventory.ImportOptions{OrgID: "00000000-0000-0000-0000-000000000009"})
	require.ErrorContains(t, err, `there is no organisation "00000000-0000-0000-0000-000000000009"`)
	require.Equal(t, runbook.CodeNotFound, runbook.AsRefusal(err).Code)
	result, err := importText(t, store, `{"apiVersion":"flightctl.io/v1beta1","kind":"DeviceList","items":[]}`,
		inventory.ImportOptions{})
	require.NoError(t, err)
	require.Zero(t, result)
}

func TestImportEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"while nothing comes": "# nothing yet\n", "in the middle": document("Device", "name: web-1", "", "") + "\n---\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := openImported(t)
			in, out := io.Pipe()
			t.Cleanup(func() { _ = out.Close() })
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := store.Import(ctx, in, inventory.ImportOptions{})
				ended <- err
			}()
			_, err := io.WriteString(out, before)
			require.NoError(t, err)
			cancel()
			select {
			case err := <-ended:
				require.ErrorIs(t, err, context.Canceled)
			case <-time.After(waitFor):
				require.Fail(t, "import goes on after its context has ended")
			}
			require.Zero(t, rows(t, store))
		})
	}
}

// A restore compares the devices that were there when it began. One that is imported later would have no place on its
// roll, and the gateway would serve it by the backup's version.
func TestImportLetsNoDevicePastARestore(t *testing.T) {
	t.Parallel()
	store := openImported(t, document("Device", "name: web-1", "a: 1", ""))
	acme, err := store.CreateOrg(t.Context(), "acme")
	require.NoError(t, err)
	open := func(id, orgID string) {
		_, err := store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: id, OrgID: orgID})
		require.NoError(t, err)
	}
	end := func(id string) {
		_, err := store.CloseRestore(t.Context(),
			inventory.CloseRestoreInput{RestoreID: id, State: runbook.RestoreCancelled})
		require.NoError(t, err)
	}
	late := document("Fleet", "name: web", "", "") + "\n---\n" + document("Device", "name: web-2", "", "") +
		"\n---\n" + document("Device", "name: web-3", "", "")
	for name, orgID := range map[string]string{"of-all": "", "of-it": runbook.DefaultOrgID} {
		open(name, orgID)
		before := rows(t, store)
		_, err := importText(t, store, late, inventory.ImportOptions{})
		require.ErrorContains(t, err, "restore "+name+" runs")
		require.ErrorContains(t, err, `device "web-2"`)
		require.Equal(t, runbook.CodeRestoreRunning, runbook.AsRefusal(err).Code)
		require.Equal(t, before, rows(t, store), "it changes nothing")
		end(name)
	}
	open("of-another", acme)
	result, err := importText(t, store, late, inventory.ImportOptions{})
	require.NoError(t, err, "it is not about these devices")
	require.Equal(t, 2, result.Devices)
	end("of-another")

	open("again", "")
	result, err = importText(t, store, strings.Join([]string{
		late,
		document("Device", `name: deleted, deletionTimestamp: "2026-08-01T10:00:00Z"`, "", ""),
		document("Device", "name: decommissioned", "", "lifecycle: {status: Decommissioned}"),
		document("Device", `name: waiting, annotations: {device-controller/awaitingReconnect: "true"}`, "", ""),
		document("Device", `name: paused, annotations: {device-controller/conflictPaused: "true"}`, "", ""),
		document("EnrollmentRequest", "name: r1", "", ""),
		document("Fleet", "name: db", "", ""),
	}, "\n---\n"), inventory.ImportOptions{SkipExisting: true})
	require.NoError(t, err, "no device of these is served")
	require.Equal(t, []int{4, 1, 1, 3},
		[]int{result.Devices, result.Fleets, result.EnrollmentRequests, result.Skipped})
	for _, annotation := range []string{`device-controller/awaitingReconnect: "false"`, "other: x"} {
		_, err = importText(t, store, document("Device", "name: web-4, annotations: {"+annotation+"}", "", ""),
			inventory.ImportOptions{})
		require.Equal(t, runbook.CodeRestoreRunning, runbook.AsRefusal(err).Code, annotation)
	}
}

// What the refusal of an import advises: another restore puts the imported devices on its roll. One that is taken up
// does not.
func TestAnotherRestoreCallsWhatWasImportedSince(t *testing.T) {
	t.Parallel()
	store := openImported(t, document("Device", "name: web-1", "", ""))
	roll := func(id string) int64 {
		_, err := store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: id})
		require.NoError(t, err)
		_, err = store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: id})
		require.NoError(t, err)
		total, err := store.FinishRoll(t.Context(), id)
		require.NoError(t, err)
		return total
	}
	require.Equal(t, int64(1), roll("first"))
	_, err := store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "first", State: runbook.RestoreCancelled})
	require.NoError(t, err)
	_, err = importText(t, store, document("Device", "name: web-2", "", ""), inventory.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(1), roll("first"), "it keeps the roll that it has")
	_, err = store.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "first", State: runbook.RestoreCancelled})
	require.NoError(t, err)
	require.Equal(t, int64(2), roll("second"))
}

// A restore that begins while a file is read is seen at its end.
func TestImportSeesARestoreThatBeginsMeanwhile(t *testing.T) {
	t.Parallel()
	store := openImported(t)
	in, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := store.Import(t.Context(), in, inventory.ImportOptions{})
		ended <- err
	}()
	many := ""
	for i := range 1000 { // a whole batch, which is inserted at once
		many += document("Device", fmt.Sprintf("name: web-%d", i), "", "") + "\n---\n"
	}
	_, err := io.WriteString(out, many)
	require.NoError(t, err)
	_, err = store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "meanwhile"})
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.Equal(t, runbook.CodeRestoreRunning, runbook.AsRefusal(<-ended).Code)
	require.Zero(t, rows(t, store))
}
