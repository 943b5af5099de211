package limits_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/limits"
)

func TestRates(t *testing.T) {
	t.Parallel()
	rates, now := limits.NewRates(2, time.Minute), time.Now()
	require.True(t, rates.Allow("a", now))
	require.True(t, rates.Allow("a", now))
	require.False(t, rates.Allow("a", now))
	require.True(t, rates.Allow("b", now), "another key")
	require.True(t, rates.Allow("a", now.Add(31*time.Second)))
	require.False(t, rates.Allow("a", now.Add(31*time.Second)))
	rates.Sweep(now.Add(32 * time.Second))
	require.False(t, rates.Allow("a", now.Add(32*time.Second)), "it is not forgotten before its time")
	rates.Sweep(now.Add(time.Hour))
	require.True(t, rates.Allow("a", now.Add(time.Hour)))
}

func TestSource(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.7:443":             "192.0.2.7",
		"[::ffff:192.0.2.7]:443":    "192.0.2.7",
		"[2001:db8::1]:443":         "2001:db8::/64",
		"[2001:db8::ffff:1]:9":      "2001:db8::/64",
		"[fe80::1%eth0]:443":        "fe80::/64",
		"192.0.2.7":                 "192.0.2.7",
		"pipe":                      "pipe",
		"[2001:db8:0:1::1%eth0]:80": "2001:db8:0:1::/64",
	} {
		require.Equal(t, want, limits.Source(remote), remote)
	}
}
