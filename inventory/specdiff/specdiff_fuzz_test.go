package specdiff

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Documents of any form have a difference, which can be printed and written as JSON.
func FuzzDiff(f *testing.F) {
	f.Add([]byte(`{"os": {"image": "q/web:1.2"}, "applications": [{"name": "a", "image": "q/a:1"}]}`),
		[]byte(`{"os": {"image": "q/web:2@sha256:x"}, "applications": [null, {"image": ":"}]}`))
	f.Add([]byte(`null`), []byte(`[]`))
	f.Add([]byte(`{"os": 1}`), []byte(`{"applications": {}}`))
	f.Fuzz(func(t *testing.T, spec, status []byte) {
		changes := Diff(spec, status)
		for _, c := range changes {
			require.NotEmpty(t, c.String())
		}
		Collect(map[string][]Change{"web-1": changes})
		_, err := json.Marshal(changes)
		require.NoError(t, err)
	})
}
