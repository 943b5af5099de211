package simulator

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A scenario is read or refused. One that is read can be planned.
func FuzzReadScenario(f *testing.F) {
	f.Add([]byte("backWithinSeconds: 30\nfleet: {ahead: 10%}\n"))
	f.Add([]byte("reports: [{device: a, renderedVersion: '7', afterSeconds: 1}]\n"))
	f.Add([]byte("flaky: {share: 5%, everySeconds: 20-120, awaySeconds: 2}\n"))
	f.Add([]byte("slow: {share: 1e400, applySeconds: [1, 2]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "scenario.yaml")
		require.NoError(t, os.WriteFile(path, text, 0o600))
		scenario, err := ReadScenario(path)
		if err != nil {
			return
		}
		require.NoError(t, scenario.Check())
		scenario.Devices()
		byDevice(scenario.Reports)
	})
}
