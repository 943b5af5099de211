package fake_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
)

// specValid is what the service says of whether it can render a device's spec, with the reason and the message.
func (b *bundle) specValid(name string) (said []string) {
	b.t.Helper()
	require.NoError(b.t, b.db.Select(&said, `select concat_ws(' ', c ->> 'status', c ->> 'reason', c ->> 'message')
		from devices d, jsonb_array_elements(service_conditions -> 'conditions') c
		where name = $1 and c ->> 'type' = 'SpecValid'`, name))
	return said
}

func (b *bundle) generation(name string) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.Get(&n, `select coalesce(generation, 0) from devices where name = $1`, name))
	return n
}

// edits patches a device as a user.
func (b *bundle) edits(name, path string, value any) answer {
	b.t.Helper()
	return b.user("PATCH", "/devices/"+name, []any{map[string]any{"op": "add", "path": path, "value": value}})
}

func TestASpecThatIsChangedWhileItsDeviceWaitsIsNotRenderedAfterT2(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	b.exec(`update devices set status = status || '{"config": {"renderedVersion": "5"}}'`)
	require.Equal(t, 200, b.edits("web-1", "/spec/os/image", "quay.io/acme/os:2").code)
	require.Equal(t, 1, b.generation("web-1"))
	b.idle()
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-1"}))
	require.Equal(t, 200, b.poll("web-1", "5").code)
	b.rendersOthers()
	require.Equal(t, "5", b.row("web-1").Version, "T2 queues nothing")

	require.Equal(t, 200, b.edits("web-1", "/metadata/labels", map[string]any{"site": "b"}).code)
	require.Equal(t, 1, b.generation("web-1"), "labels are no spec")
	b.idle()
	require.Equal(t, "5", b.row("web-1").Version)
	require.Equal(t, 200, b.edits("web-1", "/spec/os/image", "quay.io/acme/os:3").code)
	b.eventually("web-1", func(r row) bool { return r.Version == "6" })
	require.Equal(t, 2, b.generation("web-1"))
}

func TestWhatCannotBeEdited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	require.Equal(t, 404, b.edits("web-2", "/spec/os/image", "quay.io/acme/os:2").code)
	require.Equal(t, 400, b.edits("web-1", "/metadata/annotations", map[string]any{}).code)
	b.exec(`update devices set owner = 'Fleet/web'`)
	require.Equal(t, 409, b.edits("web-1", "/spec/os/image", "quay.io/acme/os:2").code)
	require.Equal(t, 200, b.edits("web-1", "/metadata/labels", map[string]any{"site": "b"}).code)
	b.exec(`update devices set spec = spec || '{"decommissioning": {"target": "Unenroll"}}'`)
	require.Equal(t, 409, b.edits("web-1", "/metadata/labels", map[string]any{}).code)
	require.Equal(t, 0, b.generation("web-1"))
}

func TestARenderingThatFailsIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	b.fake.FailRender("web-1", "no repository acme", false)
	_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.NoError(t, err)
	b.rendersOthers()
	require.Equal(t, []string{"True Valid "}, b.specValid("other"))
	require.Equal(t, []string{"False Invalid no repository acme"}, b.specValid("web-1"))
	require.Equal(t, []string{"5", "", "OutOfDate"},
		[]string{b.row("web-1").Version, b.row("web-1").Paused, b.row("web-1").Updated})
	b.fake.FailRender("web-1", "", false)
	b.exec(`delete from devices where name = 'other'`)
	b.rendersOthers()
	require.Equal(t, "5", b.row("web-1").Version, "nothing queues it again")
	require.Equal(t, 200, b.edits("web-1", "/spec/os/image", "quay.io/acme/os:2").code)
	b.eventually("web-1", func(r row) bool { return r.Version == "8" })
	require.Equal(t, []string{"True Valid "}, b.specValid("web-1"))
}

func TestAPermanentFailureCountsAsRendered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "5", "7")
	b.exec(`update devices set owner = 'Fleet/web', annotations = annotations || '{"fleet-controller/templateVersion": "t2",
		"fleet-controller/renderedTemplateVersion": "t1"}'`)
	b.fake.FailRender("web-1", "unknown application type", true)
	for range 2 {
		_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
		require.NoError(t, err)
		b.idle()
		require.Equal(t, []string{"False Invalid unknown application type"}, b.specValid("web-1"))
		var hash, template string
		require.NoError(t, b.db.Get(&hash, `select annotations ->> 'device-controller/renderedSpecHash' from devices`))
		require.NotEqual(t, "old", hash)
		require.NoError(t, b.db.Get(&template,
			`select annotations ->> 'fleet-controller/renderedTemplateVersion' from devices`))
		require.Equal(t, "t2", template)
		require.Equal(t, "5", b.row("web-1").Version)
		b.exec(`update devices set annotations = annotations || '{"device-controller/conflictPaused": "true"}'`)
	}
	b.fake.FailRender("web-1", "", false)
	_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.NoError(t, err)
	b.eventually("web-1", func(r row) bool { return r.Version == "8" }) // a resume removes the hash
}

func TestAVersionThatCannotBeReadIsASpecThatCannotBeRendered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.paused("web-1", "v14", "7")
	_, err := b.client.Resume(t.Context(), org, []string{"web-1"}, "id")
	require.NoError(t, err)
	b.idle()
	require.Contains(t, b.specValid("web-1")[0], "False Invalid")
	require.Contains(t, b.specValid("web-1")[0], "v14")
}

func TestADeviceThatIsDecommissionedIsRendered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.waiting("web-1", "5")
	b.waiting("web-2", "5")
	b.exec(`update devices set annotations = annotations - 'device-controller/awaitingReconnect' where name = 'web-1'`)
	for _, name := range []string{"web-1", "web-2"} {
		require.NoError(t, b.client.Decommission(t.Context(), org, name, flightctl.Unenroll))
	}
	b.eventually("web-1", func(r row) bool { return r.Version == "6" })
	b.idle()
	require.Equal(t, "5", b.row("web-2").Version, "it waits")
	require.Equal(t, 2, b.events("DeviceDecommissioned"))
}
