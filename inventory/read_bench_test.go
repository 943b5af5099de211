package inventory_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

const benchmarkDevices = 100_000

// manyDevices is a DeviceList in JSON, as a fleet of several sites would have it.
func manyDevices(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, `{"apiVersion":"flightctl.io/v1beta1","kind":"DeviceList","metadata":{},"items":[`)
		for i := range n {
			status, key := "AwaitingReconnect", "awaitingReconnect"
			if i%100 == 0 {
				status, key = "ConflictPaused", "conflictPaused"
			}
			comma := ","
			if i == n-1 {
				comma = ""
			}
			_, _ = fmt.Fprintf(w,
				`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"device-%06d","owner":"Fleet/fleet-%d",
				"labels":{"site":"site-%d","environment":"%s","alias":"gate-%d"},"annotations":{"device-controller/%s":"true","device-controller/renderedVersion":"5"}},
				"spec":{"os":{"image":"quay.io/example/os:1.%d"},"config":[{"name":"base","inline":[{"path":"/etc/motd","content":"%s"}]}]},
				"status":{"lastSeen":"2026-08-01T10:%02d:00Z","summary":{"status":"%s","info":"Device has not reconnected since the restore"},"updated":{"status":"Unknown"},
				"lifecycle":{"status":"Enrolled"},"applicationsSummary":{"status":"Healthy"},"config":{"renderedVersion":"5"},
				"systemInfo":{"hostname":"host-%d","bootID":"%x","kernel":"5.14.0-427.13.1.el9_4.x86_64","distroName":"Red Hat Enterprise Linux"},"resources":{"cpu":"Healthy","memory":"Healthy","disk":"Healthy"}}}%s`,
				i, i%30, i%200, []string{"production", "staging", "test"}[i%3], i, key, i%7, strings.Repeat("x", 400), i%60, status,
				i, i*7919, comma)
		}
		_, _ = io.WriteString(w, "]}")
		_ = w.Close()
	}()
	return r
}

func openMany(b *testing.B) *inventory.Store {
	store, err := inventory.Open(b.Context(), devtest.Database(b))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	return store
}

// BenchmarkDevices measures what an operator asks most among 100,000 devices; p95-ms is the figure to look at.
func BenchmarkDevices(b *testing.B) {
	store := openMany(b)
	_, err := store.Import(b.Context(), manyDevices(benchmarkDevices), inventory.ImportOptions{})
	require.NoError(b, err)
	store.DB().MustExec(`analyze`)
	for _, c := range []struct{ labels, fields string }{
		{"environment=production", "status.summary.status=AwaitingReconnect"},
		{"environment=production", "status.summary.status=ConflictPaused"},
		{"site=site-100", "status.summary.status=ConflictPaused"},
		{"site=site-7", "status.summary.status=ConflictPaused"},
		{"site in (site-1,site-2),environment!=test", "metadata.owner=Fleet/fleet-1"},
		{"", "status.summary.status=ConflictPaused"},
		{"", "status.summary.status=Online"},
		{"", "metadata.creationTimestamp<2026-08-01T10:05:00Z"},
	} {
		b.Run(c.labels+";"+c.fields, func(b *testing.B) {
			q := inventory.Query{Limit: 100}
			q.Labels, q.Fields = mustLabels(b, c.labels), mustFields(b, "devices", c.fields)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				_, err := store.Devices(b.Context(), q)
				require.NoError(b, err)
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)*95/100].Seconds()*1000, "p95-ms")
		})
	}
}

// BenchmarkImport measures the import of 100,000 devices.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		store := openMany(b)
		_, err := store.Import(b.Context(), manyDevices(benchmarkDevices), inventory.ImportOptions{})
		require.NoError(b, err)
	}
}
