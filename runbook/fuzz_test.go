package runbook_test

import (
	"encoding/json"
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
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, message := range map[string]any{
			runbook.SignalReconnect: &runbook.ReconnectSignal{}, runbook.SignalResume: &runbook.ResumeRequest{},
			runbook.SignalWithdraw: &runbook.WithdrawSignal{}, runbook.SignalLook: &runbook.LookSignal{},
			runbook.SignalCancel: &runbook.CancelSignal{}, runbook.SignalApprove: &runbook.ApproveRequest{},
			runbook.SignalDeny: &runbook.DenyRequest{},
		} {
			err := runbook.DecodeMessage(name, text, message)
			if checked, can := message.(interface{ Check() error }); can && err == nil {
				err = checked.Check()
			}
			if err != nil {
				refusal := runbook.AsRefusal(err)
				require.NotNil(t, refusal)
				storable(t, refusal.Message)
				continue
			}
			if name == runbook.SignalReconnect {
				continue // whether its version is one is ParseVersion's to say
			}
			kept, err := json.Marshal(message)
			require.NoError(t, err)
			require.NotContains(t, string(kept), `\u0000`)
		}
	})
}

func storable(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text) && !strings.ContainsRune(text, 0), "%q", text)
	require.LessOrEqual(t, utf8.RuneCountInString(text), 1001)
}
