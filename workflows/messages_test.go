package workflows_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"rollcall/runbook"
)

func TestPausedDeviceReportsAgain(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("7")).step(n.reports("7"), n.reports("7")).step(n.reports("4"))
	n.step(func() {
		require.Equal(t, runbook.StateConflictPaused, n.state().State)
		require.Equal(t, "4", n.state().Reported)
	})
	n.step(n.resumeSignal("alice", "4"))
	require.Equal(t, "6", n.ends(runbook.OutcomeResumed).Next)
	require.Equal(t, []string{"reconnect T3", "reconnect x2", "reconnect Reported", "resume T4"}, n.story())
	require.Equal(t, 3, n.world.calls["Reconnect"], "the same version is asked about once a minute")
}

func TestUnreadableMessagesAreRefusedAndSeen(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		signal  string
		payload any
		code    runbook.Code
	}{
		{"letters", runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: "abc"}, runbook.CodeInvalidVersion},
		{"leading zero", runbook.SignalReconnect, runbook.ReconnectSignal{
			RenderedVersion: "007",
		}, runbook.CodeInvalidVersion},
		{"65 bits", runbook.SignalReconnect, runbook.ReconnectSignal{
			RenderedVersion: "9223372036854775808",
		}, runbook.CodeInvalidVersion},
		{"a number", runbook.SignalReconnect, map[string]int{"renderedVersion": 7}, runbook.CodeInvalidRequest},
		{"another field's name", runbook.SignalReconnect, map[string]string{"version": "7"}, runbook.CodeInvalidRequest},
		{"null", runbook.SignalReconnect, json.RawMessage("null"), runbook.CodeInvalidRequest},
		{"NUL in a version", runbook.SignalReconnect, runbook.ReconnectSignal{
			RenderedVersion: "7\x00",
		}, runbook.CodeInvalidVersion},
		{"NUL in a reason", runbook.SignalResume, runbook.ResumeRequest{
			By: "alice", Reason: "a\x00b",
		}, runbook.CodeInvalidRequest},
		{"NUL in a name", runbook.SignalWithdraw, runbook.WithdrawSignal{
			By: "a\x00b", Force: true,
		}, runbook.CodeInvalidRequest},
		{"a text too long", runbook.SignalWithdraw, runbook.WithdrawSignal{
			Reason: strings.Repeat("x", 3000),
		}, runbook.CodeInvalidRequest},
		{"resume with a mistyped field", runbook.SignalResume, map[string]string{
			"by": "alice", "exepctVersion": "7",
		}, runbook.CodeInvalidRequest},
		{"no payload", runbook.SignalReconnect, nil, runbook.CodeInvalidRequest},
		{"a bare string", runbook.SignalReconnect, "7", runbook.CodeInvalidRequest},
		{"bytes", runbook.SignalReconnect, []byte("\x00\x01"), runbook.CodeInvalidRequest},
		{"resume by no one", runbook.SignalResume, runbook.ResumeRequest{Reason: "why not"}, runbook.CodeInvalidRequest},
		{"resume that is no object", runbook.SignalResume, []string{"alice"}, runbook.CodeInvalidRequest},
		{"withdrawal that is no object", runbook.SignalWithdraw, 7, runbook.CodeInvalidRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, "5")
			send := n.signal(tc.signal, tc.payload)
			n.step(send).step(send, send)
			n.step(func() { require.Equal(t, runbook.StateAwaitingReconnect, n.state().State) })
			n.step(n.reports("5"))
			n.ends(runbook.OutcomeNormal)
			require.Equal(t, []string{fmt.Sprintf("%s %s x3", tc.signal, tc.code), "reconnect T2"}, n.story())
			require.Len(t, n.world.refusals, 1, "a repetition is counted, not written again")
		})
	}
}

// asJSON is a message as JSON that is sent as it is written.
func asJSON(text string) converter.RawValue {
	return converter.NewRawValue(&commonpb.Payload{
		Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)}, Data: []byte(text),
	})
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	withdraw := runbook.WithdrawSignal{By: "alice", Reason: "scrapped"}
	t.Run("a device that is gone, while it waits", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.gone = true
		n.step(n.signal(runbook.SignalWithdraw, withdraw)).ends(runbook.OutcomeWithdrawn)
	})
	t.Run("a device that is gone, while it is paused", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.reports("7")).step(func() { n.device.gone = true }, n.signal(runbook.SignalWithdraw, withdraw))
		n.ends(runbook.OutcomeWithdrawn)
		require.Equal(t, []string{"reconnect T3", "withdraw T5"}, n.story())
	})
	t.Run("without a payload", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.gone = true
		n.step(n.signal(runbook.SignalWithdraw, nil)).ends(runbook.OutcomeWithdrawn)
	})
	t.Run("a device that is there is refused, unless by force", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.step(n.signal(runbook.SignalWithdraw, withdraw))
		n.step(func() { require.Equal(t, runbook.StateAwaitingReconnect, n.state().State) })
		n.step(n.signal(runbook.SignalWithdraw, runbook.WithdrawSignal{By: "alice", Force: true}))
		n.ends(runbook.OutcomeWithdrawn)
		require.Equal(t, []string{"withdraw StillManaged", "withdraw T5"}, n.story())
	})
	t.Run("a device that is gone reports", func(t *testing.T) {
		t.Parallel()
		n := newNight(t, "5")
		n.device.gone = true
		n.step(n.reports("5")).ends(runbook.OutcomeWithdrawn)
	})
}

func TestLateMessagesAreAnswered(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("5"), n.reports("6"), n.signal(runbook.SignalWithdraw, runbook.WithdrawSignal{By: "bob"}))
	n.ends(runbook.OutcomeNormal)
	require.Equal(t, []string{"reconnect T2", "reconnect NotWaiting", "withdraw NotWaiting"}, n.story())
}

func TestDuplicateReports(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("7"), n.reports("7"), n.reports("7")).step(n.resumeSignal("alice", "7"))
	require.Equal(t, "8", n.ends(runbook.OutcomeResumed).Next)
	require.Equal(t, 1, n.world.calls["Reconnect"])
}

func TestTimelineStaysSmall(t *testing.T) {
	t.Parallel()
	n := newNight(t, "5")
	n.step(n.reports("1000"))
	for i := range 150 {
		n.step(n.reports(fmt.Sprint(1001 + i)))
	}
	n.step(func() {
		require.Len(t, n.state().Timeline, 100)
		require.Equal(t, 51, n.state().Dropped)
	})
	n.step(n.resumeSignal("alice", "1150"))
	n.ends(runbook.OutcomeResumed)
}
