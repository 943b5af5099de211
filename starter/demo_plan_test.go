package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDemoPlanIsReadStrictly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, complaint string }{
		"a field that nobody knows": {"reports: [{device: a, after: 3}]", "after"},
		"no device":                 {"stragglers: [{renderedVersion: '7'}]", "stragglers[0]: it names no device"},
		"a time before the start":   {"decommissioned: [{device: a, afterSeconds: -1}]", "decommissioned[0]: afterSeconds -1"},
		"a time of hours":           {"reports: [{device: a, afterSeconds: 4000}]", "reports[0]: afterSeconds 4000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, demoReportsFile), []byte(c.text), 0o600))
			_, err := loadDemoPlan(dir)
			require.ErrorContains(t, err, c.complaint)
			require.ErrorContains(t, err, demoReportsFile)
		})
	}
}
