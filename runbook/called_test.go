package runbook_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// A restore that was taken up again finds its devices claimed, and has asked for the workflows of those whose batch has
// said so.
func TestWhoWasCalled(t *testing.T) {
	t.Parallel()
	first, second, late := 0, 1, runbook.LateBatch
	for _, tc := range []struct {
		name   string
		answer string
		batch  *int
		called bool
	}{
		{"its batch has called", `{"called": 500, "total": 1000, "claims": true, "calledBatches": [0]}`, &first, true},
		{"its batch has not begun", `{"called": 500, "total": 1000, "claims": true, "calledBatches": [0]}`, &second, false},
		{"no batch has called", `{"called": 0, "total": 1000, "claims": true, "calledBatches": []}`, &first, false},
		{"no batch has claimed it", `{"called": 500, "total": 1000, "claims": true, "calledBatches": [0]}`, nil, false},
		{"its enrollment calls it", `{"called": 0, "total": 1000, "claims": true, "calledBatches": []}`, &late, true},
		{"all have called", `{"called": 1000, "total": 1000, "claims": true, "calledBatches": [0, 1]}`, nil, true},
		{"a worker of an earlier release", `{"called": 0, "total": 1000, "claims": true}`, &second, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var p runbook.RestoreProgress
			require.NoError(t, json.Unmarshal([]byte(tc.answer), &p))
			again, err := json.Marshal(p)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(again, &p))
			require.Equal(t, tc.called, p.HasCalled(3, tc.batch))
		})
	}
}
