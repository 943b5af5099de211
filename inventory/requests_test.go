package inventory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

func TestUnapprovedRequestsAreAnnotated(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			add := func(name string, annotations, status *string) {
				store.DB().MustExec(`insert into enrollment_requests (org_id, name, annotations, status, resource_version)
					values ($1, $2, $3, $4, 4)`,
					runbook.DefaultOrgID, name, annotations, status)
			}
			add("approved", ptr(`{"a": "b"}`), ptr(`{"approval": {"approved": true}}`))
			add("denied", ptr(`{"a": "b"}`), ptr(`{"approval": {"approved": false}}`))
			add("new", nil, nil)
			add("odd", ptr(`7`), ptr(`{"approval": {"approved": "true"}}`))
			add("other", ptr(`{"device-controller/awaitingReconnect": "maybe"}`), ptr(`{}`))
			add("marked", ptr(`{"device-controller/awaitingReconnect": "true"}`), ptr(`null`))
			add("deleted", nil, nil)
			store.DB().MustExec(`update enrollment_requests set deleted_at = now() where name = 'deleted'`)
			openRestore(t, store, "r1")

			in := inventory.RollInput{RestoreID: "r1", Limit: 2}
			for done := false; !done; {
				r, err := store.AnnotateRequests(t.Context(), in)
				require.NoError(t, err)
				again, err := store.AnnotateRequests(t.Context(), in)
				require.NoError(t, err)
				require.Equal(t, r, again)
				in.AfterOrg, in.AfterName, done = r.LastOrg, r.LastName, r.Done
			}
			type row struct {
				Name        string
				Annotations string
				Version     int `db:"resource_version"`
			}
			var rows []row
			require.NoError(t,
				store.DB().Select(&rows, `select name, coalesce(cast(annotations as text), '') as annotations, resource_version
				from enrollment_requests order by name`))
			const mark = `"device-controller/awaitingReconnect": "true"}`
			require.Equal(t, []row{
				{"approved", `{"a": "b"}`, 4},
				{"deleted", ``, 4},
				{"denied", `{"a": "b", ` + mark, 5},
				{"marked", `{` + mark, 4},
				{"new", `{` + mark, 5},
				{"odd", `{` + mark, 5},
				{"other", `{` + mark, 5},
			}, rows)
		})
	}
}

func TestRequestsOfOtherOrganisationsAreLeftAlone(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	other, err := store.CreateOrg(t.Context(), "acme")
	require.NoError(t, err)
	for _, org := range []string{runbook.DefaultOrgID, other} {
		store.DB().MustExec(`insert into enrollment_requests (org_id, name) values ($1, 'x')`, org)
	}
	openRestore(t, store, "r1", other)
	r, err := store.AnnotateRequests(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	require.Equal(t, inventory.RollResult{Put: 1, LastOrg: other, LastName: "x", Done: true}, r)
	require.Equal(t, 1,
		count(t, store, `select count(*) from enrollment_requests where annotations is null and org_id = $1`,
			runbook.DefaultOrgID))
}

func TestRequestsThatArriveAfterTheRollAreLeftAlone(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	openRestore(t, store, "r1")
	_, err := store.FinishRoll(t.Context(), "r1")
	require.NoError(t, err)
	store.DB().MustExec(`insert into enrollment_requests (org_id, name) values ($1, 'late')`, runbook.DefaultOrgID)
	_, err = store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r1"})
	require.NoError(t, err)
	result, err := store.AnnotateRequests(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	require.True(t, result.Done)
	var marked int
	require.NoError(t, store.DB().Get(&marked, `select count(*) from enrollment_requests where annotations is not null`))
	require.Zero(t, marked, "it was not in the backup")
}

// A roll of a large fleet is made for a while, and agents do not wait for that.
func TestRequestsThatArriveWhileTheRollIsMadeAreLeftAlone(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	add := func(name, created string) {
		store.DB().MustExec(`insert into enrollment_requests (org_id, name, created_at) values ($1, $2, `+created+`)`,
			runbook.DefaultOrgID, name)
	}
	add("old", `now() - interval '1 day'`)
	add("of-no-time", `null`)
	openRestore(t, store, "r1")
	add("late", `now()`)
	result, err := store.AnnotateRequests(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	require.Equal(t, 2, result.Put)
	require.Equal(t, 0,
		count(t, store, `select count(*) from enrollment_requests where name = 'late' and annotations is not null`))
	require.Equal(t, 2, count(t, store, `select count(*) from enrollment_requests where annotations is not null`))
}
