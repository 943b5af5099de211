package runbook_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestParseWatchInterval(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		"": runbook.DefaultWatchInterval, "0": 0, "0s": 0, "100ms": 100 * time.Millisecond, "30s": 30 * time.Second,
		"1m30s": 90 * time.Second,
	} {
		got, err := runbook.ParseWatchInterval(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"30", "-1s", "99ms", "1ns", "soon", " 1s"} {
		_, err := runbook.ParseWatchInterval(in)
		require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(err).Code, in)
	}
}
