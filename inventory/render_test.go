package inventory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

const webFleet = `insert into fleets (org_id, name, spec) values ('00000000-0000-0000-0000-000000000000', 'web',
	'{"template": {"spec": {"os": {"image": "web:2"}}}}')`

func render(t *testing.T, store *inventory.Store, d inventory.AgentDevice, known runbook.Version) bool {
	t.Helper()
	next, err := d.NextVersion(known)
	require.NoError(t, err)
	ok, err := store.Render(t.Context(), d, next)
	require.NoError(t, err)
	return ok
}

func TestRenderGivesTheNextVersion(t *testing.T) {
	t.Parallel()
	for kind, open := range databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			store.DB().MustExec(webFleet)
			full().create(t, store)
			store.DB().MustExec(`update devices set spec = '{"os": {"image": "own:1"}}',
				annotations = annotations - 'device-controller/conflictPaused'`)
			d := agentDevice(t, store, "web-1")
			require.True(t, d.RenderDue(), "what was rendered last was something else")
			require.True(t, render(t, store, d, 3))
			require.False(t, render(t, store, d, 3), "it has been rendered since")

			d = agentDevice(t, store, "web-1")
			require.Equal(t, "6", d.Restored)
			require.False(t, d.RenderDue())
			served, ok, err := store.RenderedDevice(t.Context(), d)
			require.NoError(t, err)
			require.True(t, ok)
			require.JSONEq(t, `{"os": {"image": "web:2"}}`, string(served.Spec), "the fleet's template")
			require.Equal(t, "6", served.Metadata.Annotations[runbook.AnnotationRenderedVersion])
			require.Equal(t, "yes", served.Metadata.Annotations["example.com/kept"])
			require.Empty(t, served.Status)

			// The fleet's template changes: the version that was read is no version of this spec.
			store.DB().MustExec(`update fleets set spec = '{"template": {"spec": {"os": {"image": "web:3"}}}}'`)
			_, ok, err = store.RenderedDevice(t.Context(), d)
			require.NoError(t, err)
			require.False(t, ok)
			d = agentDevice(t, store, "web-1")
			require.True(t, d.RenderDue())
			require.True(t, render(t, store, d, 9))
			require.Equal(t, "10", agentDevice(t, store, "web-1").Restored, "past what the agent knows")

			// Without its fleet its own spec is the source, as describe says.
			store.DB().MustExec(`update fleets set deleted_at = now()`)
			d = agentDevice(t, store, "web-1")
			require.True(t, render(t, store, d, 0))
			served, _, err = store.RenderedDevice(t.Context(), agentDevice(t, store, "web-1"))
			require.NoError(t, err)
			require.JSONEq(t, `{"os": {"image": "own:1"}}`, string(served.Spec))
		})
	}
}

// A restore that comes between the read and the write must win: nothing is rendered or served while a device waits.
func TestRenderFailsWhereTheDeviceHasComeToWait(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	versioned("web-1", "5").create(t, store)
	store.DB().MustExec(`update devices set spec = '{"a": 1}'`)
	before := agentDevice(t, store, "web-1")
	require.True(t, before.RenderDue())
	restored(t, store)
	require.False(t, render(t, store, before, 0))
	_, ok, err := store.RenderedDevice(t.Context(), before)
	require.NoError(t, err)
	require.False(t, ok)
	require.False(t, agentDevice(t, store, "web-1").RenderDue())

	_, err = store.Reconnect(t.Context(), reconnectOf("web-1", "7"))
	require.NoError(t, err)
	require.False(t, agentDevice(t, store, "web-1").RenderDue(), "nor while it is paused")
	_, err = store.Resume(t.Context(), resumeOf("web-1", "alice"))
	require.NoError(t, err)
	d := agentDevice(t, store, "web-1")
	require.True(t, d.RenderDue(), "a resume renders again")
	next, err := d.NextVersion(0)
	require.NoError(t, err)
	require.Equal(t, runbook.Version(8), next)
}

func TestNothingIsRenderedFromNoSpec(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for _, spec := range []string{`null`, `'[]'`, `'null'`, `'"x"'`, `'{}'`} {
		store.DB().MustExec(`delete from devices`)
		versioned("web-1", "5").create(t, store)
		store.DB().MustExec(`update devices set spec = ` + spec)
		require.False(t, agentDevice(t, store, "web-1").RenderDue(), spec)
		require.Empty(t, agentDevice(t, store, "web-1").SpecHash, "nor is it served as what was rendered before: %s", spec)
	}
	store.DB().MustExec(`update devices set spec = '{"os": {"image": "own:1"}}'`)
	require.True(t, agentDevice(t, store, "web-1").RenderDue(), "once someone has given it one")
	store.DB().MustExec(webFleet)
	store.DB().MustExec(`update fleets set spec = '{"template": {"spec": {}}}'`)
	store.DB().MustExec(`update devices set owner = 'Fleet/web', spec = '{}'`)
	require.True(t, agentDevice(t, store, "web-1").RenderDue(), "a fleet's empty template is what someone has written")
}

func TestMovesAreReadByNumber(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	last, err := store.LastMove(t.Context())
	require.NoError(t, err)
	require.Zero(t, last)
	restored(t, store, versioned("web-1", "5"), versioned("web-2", "5"))
	moves, err := store.Moves(t.Context(), []inventory.IDs{inventory.After(0)})
	require.NoError(t, err)
	require.Len(t, moves, 2)
	moves, err = store.Moves(t.Context(),
		[]inventory.IDs{{From: moves[0].ID, To: moves[0].ID}, inventory.After(moves[1].ID)})
	require.NoError(t, err)
	require.Len(t, moves, 1)
	require.Equal(t, "web-1", moves[0].Name)
}
