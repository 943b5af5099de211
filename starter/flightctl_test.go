package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
	"rollcall/runbook"
)

// beside runs a fake Flight Control on the bench's database, beside which its workers run.
func (b *bench) beside() {
	b.t.Helper()
	ca, err := authority.LoadOrMake(filepath.Join(b.dir, "ca.crt"), filepath.Join(b.dir, "ca.key"))
	require.NoError(b.t, err)
	control, err := fake.Start(fake.Config{DatabaseURL: b.url, CA: ca})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, control.Close()) })
	c, err := flightctl.Open(control.Client())
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, c.Close()) })
	b.flightctl = c
}

// Flight Control's API has no call for a version from a human. The command, the update and the signal are refused, and
// each answer says what to do instead.
func TestAReportByAPersonIsRefusedBesideFlightControl(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.beside()
	b.work()
	b.give(device{name: "web-1", version: "5", labels: "site: a"}, device{name: "web-2", version: "5", labels: "site: a"},
		device{name: "web-3", version: "5"}, device{name: "web-4", version: "5"})
	b.restored("night")
	instead := []string{
		"Flight Control decides", "takes no version from a human", "see that the agent runs",
		"withdraw the device if it never comes back",
	}
	says := func(message string) {
		for _, part := range instead {
			require.Contains(t, message, part)
		}
	}

	one := b.run("reconnect", "device", "web-1", "--rendered-version", "5", "--as", "alice", "--timeout", "2m")
	require.Equal(t, 1, one.code)
	require.Empty(t, one.stdout)
	require.Contains(t, one.stderr, `device "web-1": refused (WrongMode)`)
	says(one.stderr)

	var report struct {
		Done    []any
		Refused []struct {
			Name, Message string
			Code          runbook.Code
		}
	}
	several := b.run("reconnect", "devices", "-l", "site=a", "--rendered-version", "5", "--as", "alice",
		"--timeout", "2m", "-o", "json")
	require.Equal(t, 4, several.code)
	several.json(t, &report)
	require.Empty(t, report.Done)
	require.Len(t, report.Refused, 2)
	for _, refused := range report.Refused {
		require.Equal(t, runbook.CodeWrongMode, refused.Code)
		says(refused.Message)
	}

	dry := b.run("reconnect", "devices", "-l", "site=a", "--rendered-version", "5", "--dry-run")
	require.Equal(t, 4, dry.code)
	says(dry.stdout)

	answer, err := b.tell("web-3", runbook.UpdateReconnect, "one",
		runbook.ReconnectRequest{RenderedVersion: "5", By: "bob"})
	require.NoError(t, err)
	require.Equal(t, runbook.CodeWrongMode, answer.Code)
	require.Equal(t, runbook.StateAwaitingReconnect, answer.State)
	says(answer.Message)

	b.signal("web-4", runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "5", By: "carol"})
	refusals := []string{
		"restore tester asserted",
		"reconnect web-1 alice asserted cli WrongMode",
		"reconnect web-1 alice asserted cli WrongMode",
		"reconnect web-2 alice asserted cli WrongMode",
		"reconnect web-3 bob asserted update WrongMode",
		"reconnect web-4 carol asserted signal WrongMode",
	}
	require.Eventually(t, func() bool { return len(b.audited()) == len(refusals) }, 2*time.Minute, 20*time.Millisecond)
	require.ElementsMatch(t, refusals, b.audited())

	for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
		require.Equal(t, runbook.StateAwaitingReconnect, b.stateOf(name))
		explained := b.ok("explain", "device", name)
		require.Contains(t, explained, "its next poll of Flight Control")
		require.NotContains(t, explained+b.ok("describe", "device", name), "starter reconnect")
	}
	b.ok("withdraw", "device", "web-1", "--force", "--reason", "it never comes back", "--timeout", "2m") // as they say
}

// A device that is back since flightctl-restore stays off the roll, and the command says so: where the backup holds
// that event, no one has compared the device.
func TestARestoreSaysWhatItLeavesOff(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.beside()
	b.work()
	b.give(device{name: "back", version: "5"}, device{name: "waits", version: "5"})
	b.store.DB().MustExec(`insert into events (org_id, name, reason, source_component, created_at)
		values ($1, 'e1', 'SystemRestored', 'flightctl-restore', now() - interval '1 hour')`, runbook.DefaultOrgID)
	b.store.DB().MustExec(`update device_timestamps set last_seen = now() where name = 'back'`)
	const off = "since flightctl-restore"
	require.Contains(t, b.ok("restore", "--id", "r1", "--dry-run"),
		"beside Flight Control it would leave 1 device off the roll: back "+off)
	require.NotContains(t, b.ok("restore", "--id", "r1", "--dry-run", "--all"), off)
	o := b.run("restore", "--id", "r1")
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "with 1 device on its roll")
	require.Contains(t, o.stderr, "warning: 1 device not on the roll: seen "+off)
	require.Contains(t, o.stderr, "call them too: `starter restore --all --supersede`")
	o = b.run("restore", "--id", "r2", "--all", "--supersede")
	require.Contains(t, o.stdout, "with 2 devices on its roll")
	require.NotContains(t, o.stderr, off)
}
