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

func TestDemoPlanKeepsTheOrderOfADevicesReports(t *testing.T) {
	t.Parallel()
	grouped := byDevice([]demoReport{
		{AfterSeconds: 9, Device: "a", RenderedVersion: "3"},
		{AfterSeconds: 1, Device: "b", RenderedVersion: "5"},
		{AfterSeconds: 2, Device: "a", RenderedVersion: "1"},
		{AfterSeconds: 2, Device: "a", RenderedVersion: "2"},
	})
	require.Len(t, grouped, 2)
	var versions []string
	for _, r := range grouped["a"] {
		versions = append(versions, r.RenderedVersion)
	}
	require.Equal(t, []string{"1", "2", "3"}, versions)
}
