package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
	"rollcall/simulator"
	"rollcall/starter/printer"
)

// agents serves the bench's devices over TLS, and returns the flags that find it.
func (b *bench) agents() []string {
	b.t.Helper()
	cert, key := filepath.Join(b.dir, "ca.crt"), filepath.Join(b.dir, "ca.key")
	ca, err := authority.LoadOrMake(cert, key)
	require.NoError(b.t, err)
	pair, err := ca.Server([]string{"127.0.0.1"}, time.Hour)
	require.NoError(b.t, err)
	certificate, err := pair.TLS()
	require.NoError(b.t, err)
	gateway, err := agentapi.New(agentapi.Config{
		Store: b.openAs(roles.Gateway), Temporal: b.client, Logger: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0",
		Certificate: &certificate, ClientCAs: ca.Pool(), Render: true, WatchEvery: 20 * time.Millisecond,
	})
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- gateway.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); require.NoError(b.t, <-done) })
	return []string{"--gateway", "https://" + gateway.Address(), "--ca-cert", "ca.crt", "--ca-key", "ca.key"}
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600))
}

func (b *bench) fleetOf(n int) {
	b.t.Helper()
	devices := make([]device, n)
	for i := range devices {
		devices[i] = device{name: fmt.Sprintf("web-%02d", i), version: "5"}
	}
	b.give(devices...)
}

// behind are the devices that do not run what was rendered for them last.
func (b *bench) behind() []string {
	b.t.Helper()
	found, err := b.store.Devices(b.t.Context(), inventory.Query{})
	require.NoError(b.t, err)
	var behind []string
	for _, d := range found {
		status := printer.ReadDeviceStatus(d.Status)
		rendered := d.Metadata.Annotations[runbook.AnnotationRenderedVersion]
		if rendered == "5" || status.Config.RenderedVersion != rendered || status.Updated.Status != runbook.UpdatedUpToDate {
			behind = append(behind,
				fmt.Sprintf("%s: %s of %s, %s", d.Metadata.Name, status.Config.RenderedVersion, rendered, status.Updated.Status))
		}
	}
	return behind
}

func TestSimulatedAgentsPlayARollCallToItsEnd(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	args := append([]string{"simulate", "--scenario", "scenario.yaml", "--seed", "4", "--brisk", "-o", "json"},
		b.agents()...)
	b.write("scenario.yaml",
		"{fleet: {ahead: 4, behind: 4, neverDeployed: 2}, backWithinSeconds: 1, applySeconds: [0.05, 0.2], rebooting: "+
			"{share: 2, awaySeconds: 0.2}}")
	b.fleetOf(20)
	b.restored("night")

	// When the agents come back, until all have been answered,
	var s simulator.Summary
	b.runWith(t.Context(), "", append(args, "--until-answered")...).json(t, &s)
	// then those that are ahead wait for a human, and the others are back.
	require.Equal(t,
		map[simulator.Fate]int{simulator.Ahead: 4, simulator.Behind: 4, simulator.NeverDeployed: 2, simulator.Equal: 10},
		s.Fates)
	require.Equal(t, int64(20), s.Back)
	tally := b.tally("night").Counts
	require.Equal(t, int64(4), tally[runbook.StateConflictPaused], tally)
	require.Equal(t, int64(16), tally[runbook.StateNormal], tally)

	// When they live on, and a human resumes those,
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan outcome, 1)
	go func() { ended <- b.runWith(ctx, "", args...) }()
	b.ok("resume", "devices", "--all", "--reason", "checked on site")
	// then each device runs what was rendered for it, and the roll call is over.
	require.Eventually(t, func() bool {
		return len(b.behind()) == 0
	}, devStartLimit, 50*time.Millisecond, "devices stay behind")
	require.Eventually(t, func() bool {
		return b.tally("night").State == runbook.RestoreCompleted
	}, devStartLimit, 50*time.Millisecond)
	end()
	o := <-ended
	require.Equal(t, printer.ExitOK, o.code, "Ctrl-C is how it ends: %s", o.stderr)
	o.json(t, &s)
	require.GreaterOrEqual(t, s.Applied, int64(4))
	require.Zero(t, s.Errors, s.LastError)
	require.Contains(t, o.stderr, "20 agents of https://127.0.0.1:")
}

func TestSimulateSendsWhatIsNoVersionAsItStands(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	args := append([]string{"simulate", "--scenario", "scenario.yaml", "--devices", "1"}, b.agents()...)
	b.write("scenario.yaml", "reports: [{device: web-01, renderedVersion: '05'}]")
	b.fleetOf(3)
	b.restored("night")
	require.Eventually(t, func() bool {
		_, err := b.client.DescribeWorkflowExecution(t.Context(), runbook.DeviceWorkflowID(runbook.DefaultOrgID, "web-01"),
			"")
		return err == nil
	}, devStartLimit, 50*time.Millisecond, "someone waits for it; else its only report could be sent away")
	o := b.run(append(args, "--until-answered", "--for", "4s")...)
	require.Equal(t, printer.ExitOK, o.code, o.stderr)
	require.Regexp(t, `AGENTS +2 for ([4-9]|\d\d) s`, o.stdout, "it is back, and was never answered")
	require.Regexp(t, `fates +1 named, 1 neverBack`, o.stdout)
	require.NotRegexp(t, ` 0 requests refused`, o.stdout)
	require.Contains(t, o.stdout, "400 Bad Request")
	require.Eventually(t, func() bool {
		return strings.Contains(b.ok("describe", "device", "web-01"), `"05" is not a version`)
	}, devStartLimit, 50*time.Millisecond, "the worker writes the refusal when it comes to it")
	b.until("web-01", runbook.StateAwaitingReconnect)
}

func TestSimulateSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	flags := b.agents()
	gateway, authorities := flags[:2], flags[2:]
	b.write("typo.yaml", "fleet: {ahed: 3}")
	b.write("stranger.yaml", "reports: [{device: web-9, renderedVersion: '7'}]")
	b.write("many.yaml", "fleet: {ahead: 3}")
	other := filepath.Join(b.dir, "other")
	require.NoError(t, os.Mkdir(other, 0o700))
	_, err := authority.LoadOrMake(filepath.Join(other, "ca.crt"), filepath.Join(other, "ca.key"))
	require.NoError(t, err)
	b.fleetOf(2)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no authority": {gateway, "no certificate authority is known"},
		"no gateway":   {authorities, "no gateway is known"},
		"no one there": {
			append([]string{"--gateway", "https://127.0.0.1:1"}, authorities...), "reach the gateway",
		},
		"another authority": {
			append([]string{"--ca-cert", "other/ca.crt", "--ca-key", "other/ca.key"}, gateway...), "certificate",
		},
		"no such scenario":            {append([]string{"--scenario", "none.yaml"}, flags...), "none.yaml"},
		"a field that no one knows":   {append([]string{"--scenario", "typo.yaml"}, flags...), "ahed"},
		"a device that is not there":  {append([]string{"--scenario", "stranger.yaml"}, flags...), `["web-9"]`},
		"more fates than devices":     {append([]string{"--scenario", "many.yaml"}, flags...), "more devices than the 2"},
		"an organisation of no one's": {append([]string{"--org", "acme"}, flags...), "acme"},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.run(append([]string{"simulate", "--for", "1s"}, c.args...)...)
			require.Equal(t, printer.ExitFailed, o.code, o.stderr)
			require.Contains(t, o.stderr, c.says)
			require.Empty(t, o.stdout)
		})
	}
}
