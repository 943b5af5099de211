package runbook_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

type message interface{ Check() error }

// Each text of each message is bounded: what is kept of it goes into histories, into the audit and into answers to
// queries, and a workflow that holds a few large ones cannot go on.
func TestEachTextOfAMessageIsBounded(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]message{
		"reconnect":         &runbook.ReconnectSignal{By: "alice", RenderedVersion: "7"},
		"reconnect, update": &runbook.ReconnectRequest{By: "alice", RenderedVersion: "7"},
		"resume":            &runbook.ResumeRequest{By: "alice"},
		"withdraw":          &runbook.WithdrawSignal{By: "alice"},
		"withdraw, update":  &runbook.WithdrawRequest{By: "alice"},
		"cancel":            &runbook.CancelSignal{By: "alice"},
		"approve":           &runbook.ApproveRequest{By: "alice"},
		"deny":              &runbook.DenyRequest{By: "alice"},
		"plan":              &runbook.PlanCommand{By: "alice"},
	} {
		require.NoError(t, of.Check(), name)
		for _, text := range textsOf(reflect.ValueOf(of).Elem()) {
			before := text.String()
			text.SetString(strings.Repeat("x", runbook.MaxText+1))
			err := of.Check()
			if report, ok := of.(*runbook.ReconnectSignal); ok && err == nil {
				_, err = runbook.ParseVersion(report.RenderedVersion) // which is refused with the device's state
			}
			refusal := runbook.AsRefusal(err)
			require.NotNil(t, refusal, "%s: %+.200v", name, of)
			require.Less(t, len(refusal.Message), 1500, name)
			text.SetString(before)
		}
	}
	labels := runbook.ApproveRequest{By: "alice", Labels: map[string]string{"x": strings.Repeat("x", runbook.MaxText+1)}}
	require.Error(t, labels.Check())
}

func textsOf(v reflect.Value) (texts []reflect.Value) {
	for i := range v.NumField() {
		switch field := v.Field(i); field.Kind() {
		case reflect.String:
			texts = append(texts, field)
		case reflect.Struct:
			texts = append(texts, textsOf(field)...)
		}
	}
	return texts
}

func TestAMessageIsBoundedHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	padded := `{"by":"alice"` + strings.Repeat(" ", runbook.MaxMessage) + `}`
	require.True(t, json.Valid([]byte(padded)))
	for _, name := range []string{runbook.UpdateResume, runbook.UpdateApprove, runbook.UpdateAbort} {
		require.ErrorContains(t, runbook.DecodeMessage(name, []byte(padded), &runbook.ResumeRequest{}),
			"no more than 65536 are read")
	}
}

// What another program has sent as a refusal is cut as ours are.
func TestARefusalIsStorable(t *testing.T) {
	t.Parallel()
	long := runbook.Refusal{Code: runbook.Code(strings.Repeat("C", 3000)), Message: strings.Repeat("m", 1<<20) + "\x00"}
	cut := long.Storable()
	require.Less(t, len(cut.Code)+len(cut.Message), 1500)
	require.Equal(t, cut, cut.Storable())
}

func TestWhoDecidesIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", runbook.MaxText+1)
	for _, names := range [][2]string{{long, ""}, {"", long}, {"a\x00", ""}} {
		who, _, err := runbook.Decider("", names[0], names[1])
		require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(err).Code)
		require.Empty(t, who)
	}
}
