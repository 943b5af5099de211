package runbook_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// FuzzDecodeMessage reads anything as any message. What is refused is refused with a sentence that can be stored, and
// what is taken and checked can be stored as well.
func FuzzDecodeMessage(f *testing.F) {
	for _, text := range []string{
		``, `{}`, `null`, `{"renderedVersion":"7"}`, `{"by":"alice","reason":"checked","expectVersion":"7"}`,
		`{"by":"a\u0000"}`,
		`{"by":"alice","labels":{"site":"berlin"}}`, `{"force":true}`, `[]`, `{"by":"alice"} {}`, "{\"by\":\"\xff\"}",
		`{"byRestoreId":"r2"}`, `{"restoreId":"r1"}`, `{"orgId":"o","name":"web-7","outcome":"normal"}`, `{"number":7}`,
		`{"number":1e3}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, message := range map[string]any{
			runbook.SignalReconnect: &runbook.ReconnectSignal{}, runbook.SignalResume: &runbook.ResumeRequest{},
			runbook.SignalWithdraw: &runbook.WithdrawSignal{}, runbook.SignalLook: &runbook.LookSignal{},
			runbook.SignalCancel: &runbook.CancelSignal{}, runbook.SignalApprove: &runbook.ApproveRequest{},
			runbook.SignalDeny: &runbook.DenyRequest{}, runbook.SignalSuperseded: &runbook.SupersededSignal{},
			runbook.SignalPredecessorEnded: &runbook.PredecessorEndedSignal{},
			runbook.SignalLateJoinerEnded:  &runbook.LateJoinerEndedSignal{},
			runbook.SignalBatchCalled:      &runbook.BatchCalledSignal{},
		} {
			err := runbook.DecodeMessage(name, text, message)
			checked, can := message.(interface{ Check() error })
			if can && err == nil {
				err = checked.Check()
			}
			if err != nil {
				refusal := runbook.AsRefusal(err)
				require.NotNil(t, refusal)
				storable(t, refusal.Message)
				require.NotRegexp(t, "such as $", refusal.Message, "an example is missing")
				continue
			}
			kept, err := json.Marshal(message)
			require.NoError(t, err)
			requireSame(t, name, message, kept)
			if can && name != runbook.SignalReconnect { // whether its version is one is ParseVersion's to say
				require.NotContains(t, string(kept), `\u0000`)
			}
		}
	})
}

// requireSame decodes a message again that was written as text, and expects the same.
func requireSame(t *testing.T, name string, message any, text []byte) {
	t.Helper()
	if len(text) > runbook.MaxMessage {
		return // JSON writes some characters as six
	}
	again := reflect.New(reflect.TypeOf(message).Elem()).Interface()
	require.NoError(t, runbook.DecodeMessage(name, text, again))
	got, err := json.Marshal(again)
	require.NoError(t, err)
	require.Equal(t, string(text), string(got))
}

func storable(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text) && !strings.ContainsRune(text, 0), "%q", text)
	require.LessOrEqual(t, utf8.RuneCountInString(text), 1001)
}
