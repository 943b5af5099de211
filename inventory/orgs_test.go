package inventory_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestOrganisationsAreFoundByWhatPeopleCallThem(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	const a, b, c = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000",
		"cccccccc-0000-4000-8000-000000000000"
	store.DB().MustExec(`insert into organizations (id, external_id, display_name) values ($1, 'acme', 'Twins'), ($2, '',
		'acme'), ($3, '', 'Twins')`, a, b, c)
	for ref, want := range map[string]string{
		"": runbook.DefaultOrgID, "default": runbook.DefaultOrgID, "AAAAAAAA-0000-4000-8000-000000000000": a,
		"acme": a, // the external id comes before the display name
	} {
		got, err := store.ResolveOrg(t.Context(), ref)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for ref, want := range map[string]runbook.Code{
		"nope": runbook.CodeNotFound, uuid.NewString(): runbook.CodeNotFound, "Twins": runbook.CodeInvalidRequest,
	} {
		_, err := store.ResolveOrg(t.Context(), ref)
		require.Equal(t, want, refusal(t, err))
	}
}

func TestCreateOrgMakesOneOnce(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			wanted := uuid.NewString()
			for ref, want := range map[string]string{wanted: wanted, "default": runbook.DefaultOrgID, "acme": ""} {
				ids := make([]string, 8)
				together(t, store, len(ids), func(i int) (err error) {
					ids[i], err = store.CreateOrg(t.Context(), ref)
					return err
				})
				for _, id := range ids {
					require.Equal(t, ids[0], id)
				}
				if want != "" {
					require.Equal(t, want, ids[0])
				}
			}
			require.Equal(t, 3, count(t, store, `select count(*) from organizations`))
		})
	}
}
