package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// edits changes the spec of a device in Flight Control, as a user does.
func (c *controlled) edits(name, image string) {
	c.t.Helper()
	body, err := json.Marshal([]any{map[string]any{"op": "replace", "path": "/spec/os/image", "value": image}})
	require.NoError(c.t, err)
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPatch, c.fake.URL()+"/api/v1/devices/"+name,
		bytes.NewReader(body))
	require.NoError(c.t, err)
	r.Header.Set("Authorization", "Bearer token-of-admin")
	r.Header.Set("Content-Type", "application/json-patch+json")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.ca.Pool()}, DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(r)
	require.NoError(c.t, err)
	require.NoError(c.t, res.Body.Close())
	require.Equal(c.t, http.StatusOK, res.StatusCode)
}

// repairs are the reasons of the repairs of a device, the first one first.
func (c *controlled) repairs(name string) (reasons []string) {
	c.t.Helper()
	require.NoError(c.t, c.owner.DB().SelectContext(c.t.Context(), &reasons,
		`select reason from rollcall.transitions where name = $1 and transition = 'Repaired' order by id`, name))
	return reasons
}

// An operator edits a device's spec in the night, while the device waits. Flight Control stores it, drops the event,
// and queues nothing at T2.
func TestASpecThatIsEditedWhileItsDeviceWaits(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	c.works()
	c.fleet(map[string]string{"web-1": "5", "web-2": "5"})
	_, err := c.owner.DB().ExecContext(t.Context(), `update devices set owner = null, generation = 1`)
	require.NoError(t, err)
	c.begin()
	for _, name := range []string{"web-1", "web-2"} {
		c.await(name, runbook.StateAwaitingReconnect)
		c.fcReports(name, "5")
	}
	c.edits("web-1", "quay.io/fleet/web:2")
	c.eventually("its worker has dropped the event", func() bool {
		entries, err := c.fake.Store().Stream("task-queue")
		return err != nil || len(entries) == 0
	})
	c.polls("web-1", "5", runbook.StateNormal)
	c.rendered("web-1", "6")
	require.Equal(t, runbook.OutcomeNormal, c.outcome("web-1").Outcome)
	require.Equal(t, []string{"Repaired  service:rollcall", "T2 look service:flightctl"}, c.audited("web-1"))
	require.Contains(t, c.repairs("web-1")[0], "its spec was changed while it waited")

	c.polls("web-2", "5", runbook.StateNormal)
	require.Equal(t, runbook.OutcomeNormal, c.outcome("web-2").Outcome)
	require.Equal(t, []string{"T2 look service:flightctl"}, c.audited("web-2"), "nothing was to be repaired")
	require.EqualValues(t, 2, c.completes().Counts[runbook.StateNormal])
}

// Flight Control tries no rendering again that has failed. A human's decision stands until it can be carried out, and
// the audit says why it could not.
func TestADecisionWhoseSpecCannotBeRendered(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	c.works()
	c.fleet(map[string]string{"web-1": "5"})
	c.begin()
	c.isPaused("web-1")
	c.fake.FailRender("web-1", "no repository acme", true)
	_, err := c.resume("web-1", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	fails := func() bool {
		var tried bool // a resume takes the hash away, and a failure that is permanent writes it
		require.NoError(t, c.owner.DB().GetContext(t.Context(), &tried,
			`select annotations ? 'device-controller/renderedSpecHash' and rollcall.device_state(annotations) = 'Normal'
				from devices where name = 'web-1'`))
		invalid, err := c.owner.SpecInvalid(t.Context(), runbook.DefaultOrgID, "web-1")
		return err == nil && invalid == "no repository acme" && tried
	}
	c.eventually("it is resumed, and cannot be rendered", fails)
	c.setBack("sent_at")
	c.eventually("it is repaired", func() bool { return len(c.repairs("web-1")) == 1 })
	require.Contains(t, c.repairs("web-1")[0], "Flight Control cannot render its spec: no repository acme")
	c.eventually("it is resumed again, and cannot be rendered", fails)

	c.fake.FailRender("web-1", "", false)
	c.setBack("sent_at")
	c.rendered("web-1", "8")
	c.fcReports("web-1", "8")
	require.Equal(t, "alice", c.outcome("web-1").By)
	require.Len(t, c.repairs("web-1"), 2)
	c.completes()
}
