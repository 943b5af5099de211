package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/internal/invariants"
	"rollcall/inventory"
	"rollcall/runbook"
)

// audited are the entries of the audit but T1 of a restore, as "message name actor identity via code", oldest first.
func (b *bench) audited() []string {
	b.t.Helper()
	rows, err := b.store.Audit(b.t.Context(), inventory.AuditQuery{})
	require.NoError(b.t, err)
	var all []string
	for _, r := range rows {
		if r.Signal != "" {
			entry := fmt.Sprintf("%s %s %s %s %s %s", r.Signal, r.Name, r.Actor, r.Identity, r.Via, r.Code)
			all = append(all, strings.Join(strings.Fields(entry), " "))
		}
	}
	return all
}

// agentReports has the gateway's signal reach a device's workflow, and waits for what comes of it.
func (b *bench) agentReports(name, version string, state runbook.State) {
	b.t.Helper()
	b.signal(name, runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: version, Agent: true})
	b.until(name, state)
}

func (b *bench) signal(name, signal string, payload any) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		id := runbook.DeviceWorkflowID(runbook.DefaultOrgID, name)
		return b.client.SignalWorkflow(b.t.Context(), id, "", signal, payload) == nil
	}, time.Minute, 20*time.Millisecond)
}

// update asks a device's workflow to resume without a command of starter.
func (b *bench) update(name string, request runbook.ResumeRequest) (decision runbook.ResumeDecision) {
	b.t.Helper()
	handle, err := b.client.UpdateWorkflow(b.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(runbook.DefaultOrgID, name), UpdateName: runbook.UpdateResume,
		Args: []any{request}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(b.t, err)
	require.NoError(b.t, handle.Get(b.t.Context(), &decision))
	return decision
}

// decisionOf is the id of the decision that the newest entry of a device's audit by this person refers to.
func (b *bench) decisionOf(name, actor string) (id string) {
	b.t.Helper()
	require.NoError(b.t, b.store.DB().GetContext(b.t.Context(), &id, `
		select decision_id from rollcall.transitions where name = $1 and actor = $2 order by id desc limit 1`, name, actor))
	return id
}

func (b *bench) requireInvariants() {
	b.t.Helper()
	found, err := invariants.Database(b.t.Context(), b.store.DB())
	require.NoError(b.t, err)
	require.Empty(b.t, found)
}

// The development server records no callers, so that a decision which is recorded is asserted.
func TestWhoActedIsRecorded(t *testing.T) {
	t.Parallel()
	for _, credentials := range []bool{false, true} {
		t.Run(fmt.Sprintf("credentials %t", credentials), func(t *testing.T) {
			t.Parallel()
			b := newTemporalBench(t)
			b.credentials = credentials
			b.work()
			for _, name := range []string{"web-1", "web-2", "web-3"} {
				b.give(device{name: name, version: "5"})
			}
			b.ok("restore", "--id", "first", "--as", "alice")
			require.Equal(t, 1, b.run("restore", "--id", "first", "--org", runbook.DefaultOrg, "--as", "bob").code, "it runs")
			b.ok("reconnect", "device", "web-1", "--rendered-version", "7", "--as", "alice", "--reason", "read at its console")
			b.ok("resume", "device", "web-1", "--as", "alice", "--reason", "checked", "--expect-version", "7")
			b.ok("withdraw", "device", "web-2", "--force", "--as", "bob", "--reason", "lost at sea")
			b.agentReports("web-3", "7", runbook.StateConflictPaused)
			require.Equal(t, 4, b.run("resume", "device", "web-3", "--as", "alice", "--expect-version", "6").code)
			b.ok("cancel", "first", "--reason", "wrong backup", "--as", "alice")
			require.Equal(t, []string{
				"restore alice asserted",
				"reconnect web-1 alice asserted cli",
				"resume web-1 alice asserted cli",
				"withdraw web-2 bob asserted cli",
				"reconnect web-3 agent signal",
				"resume web-3 alice asserted cli VersionChanged",
				"cancel alice asserted cli",
			}, b.audited())
			recorded := b.decisionOf("web-1", "alice") != ""
			require.Equal(t, credentials, recorded, "a decision is recorded only where a server may know its caller")
			require.Contains(t, b.ok("get", "transitions"), "alice (asserted)")
			require.Contains(t, b.ok("describe", "device", "web-1"), "alice (asserted), cli")
			require.NotRegexp(t, `\b`+runbook.ActorAgent+`\b`, b.ok("describe", "device", "web-1"),
				"a person's report is not the agent's")
			b.requireInvariants()
		})
	}
}

// A person's word is recorded also where it repeats what the device has reported; an agent's is not. A refused message
// that refers to a decision which cannot be one is recorded as well.
func TestEachWordOfAPersonIsRecorded(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	b.agentReports("web-1", "7", runbook.StateConflictPaused)
	b.signal("web-1", runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "7", Agent: true})
	b.ok("reconnect", "device", "web-1", "--rendered-version", "7", "--as", "alice", "--reason", "seen on site")
	b.signal("web-1", runbook.SignalResume, map[string]string{"by": "mallory", "decision": "\x00"})
	want := []string{
		"restore tester asserted",
		"reconnect web-1 agent signal",
		"reconnect web-1 alice asserted cli",
		"resume web-1 mallory asserted signal InvalidRequest",
	}
	require.Eventually(t, func() bool { return len(b.audited()) == len(want) }, 2*time.Minute, 20*time.Millisecond)
	require.Equal(t, want, b.audited())
	require.Equal(t, runbook.StateConflictPaused, b.stateOf("web-1"))
	b.requireInvariants()
}

func TestMessagesWithoutACommandAreAsserted(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"}, device{name: "web-3", version: "5"})
	b.restored("first")
	b.signal("web-1", runbook.SignalReconnect, map[string]string{"renderedVersion": "7"}) // as earlier gateways send it
	b.until("web-1", runbook.StateConflictPaused)
	b.signal("web-2", runbook.SignalReconnect, map[string]string{"renderedVersion": "7", "by": "carol"})
	b.until("web-2", runbook.StateConflictPaused)
	b.signal("web-1", runbook.SignalResume, runbook.ResumeRequest{By: "carol"})
	b.until("web-1", runbook.StateNormal)
	require.True(t, b.update("web-2", runbook.ResumeRequest{By: "carol", Reason: "checked"}).Accepted)
	b.signal("web-3", runbook.SignalWithdraw, runbook.WithdrawSignal{Force: true})
	b.until("web-3", runbook.StateWithdrawn)
	require.Equal(t, []string{
		"restore tester asserted",
		"reconnect web-1 signal",
		"reconnect web-2 carol asserted signal",
		"resume web-1 carol asserted signal",
		"resume web-2 carol asserted update",
		"withdraw web-3 signal",
	}, b.audited())
}

// A decision covers the message that it was recorded for and no other.
func TestADecisionCannotBeUsedForAnythingElse(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.credentials = true
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	b.restored("first")
	b.agentReports("web-1", "7", runbook.StateConflictPaused)
	b.agentReports("web-2", "7", runbook.StateConflictPaused)
	b.ok("resume", "device", "web-1", "--as", "alice", "--reason", "checked")
	for _, forged := range []runbook.ResumeRequest{
		{By: "alice", Reason: "checked", Origin: runbook.Origin{Decision: b.decisionOf("web-1", "alice")}},
		{By: "alice", Reason: "checked", Origin: runbook.Origin{Decision: "no-such-decision"}},
	} {
		decision := b.update("web-2", forged)
		require.False(t, decision.Accepted)
		require.Equal(t, runbook.CodeNotDecided, decision.Code)
	}
	hers := runbook.Origin{Decision: b.decisionOf("web-1", "alice")}
	b.signal("web-2", runbook.SignalWithdraw, runbook.WithdrawSignal{By: "alice", Force: true, Origin: hers})
	require.NoError(t, b.client.SignalWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), "", runbook.SignalCancel,
		runbook.CancelSignal{By: "alice", Reason: "wrong", Origin: hers}))
	require.Eventually(t, func() bool { return len(b.audited()) == 8 }, time.Minute, 20*time.Millisecond)
	require.ElementsMatch(t, []string{
		"resume web-2 alice asserted cli NotDecided",
		"resume web-2 alice asserted cli NotDecided",
		"withdraw web-2 alice asserted cli NotDecided",
		"cancel alice asserted cli NotDecided",
	}, b.audited()[4:])
	require.Equal(t, runbook.RestoreRunning, b.tally("first").State)
	require.Equal(t, runbook.StateConflictPaused, mustState(t, b, "web-2"))
}

func TestWhoMakesAndStartsAPlanIsRecorded(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.credentials = true
	b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "away", version: "5"}) // who keeps the restore open
	b.restored("first")
	b.agentReports("web-1", "7", runbook.StateConflictPaused)
	b.ok("plan", "resume", "device", "web-1", "--id", "p1", "--as", "alice", "--reason", "ticket 4711")
	b.ok("resume", "--plan", "p1", "--as", "bob", "--confirm", "1")
	require.Equal(t, []string{
		"restore tester asserted", "reconnect web-1 agent signal", "resume-plan bob asserted",
		"resume web-1 bob asserted plan",
	}, b.audited())
	shown := b.ok("plan", "show", "p1")
	require.Contains(t, shown, "planned by alice (asserted)")
	require.Contains(t, shown, "started by bob (asserted)")
	require.Equal(t, inventory.PlanDecision("p1"), b.decisionOf("web-1", "bob"))
	b.requireInvariants()
}
