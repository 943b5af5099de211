package runbook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestCompareKey(t *testing.T) {
	t.Parallel()
	const hash = "r1qtmvff4ch3dbm7733b1epug0a2un8fr3qdu97uqrnfbitl1mfg"
	own, other := runbook.Key{Fingerprint: "aa", Name: hash}, runbook.Key{Fingerprint: "bb", Name: strings.Repeat("0", 52)}
	for name, tc := range map[string]struct {
		request string
		key     runbook.Key
		known   string
		want    runbook.KeyMatch
	}{
		"the first of its name":                   {"web-1", own, "", runbook.KeyNew},
		"the one known":                           {"web-1", own, "aa", runbook.KeySame},
		"another than the one known":              {"web-1", other, "aa", runbook.KeyDifferent},
		"the name's own, first":                   {hash, own, "", runbook.KeyNew},
		"the name's own, known":                   {hash, own, "aa", runbook.KeySame},
		"the name's own, where another was known": {hash, own, "bb", runbook.KeyDifferent},
		"not the one that the name is a hash of":  {hash, other, "", runbook.KeyDifferent},
		"the same, though a human let it in once": {hash, other, "bb", runbook.KeyDifferent},
		"of a kind that names no device":          {hash, runbook.Key{Fingerprint: "cc"}, "", runbook.KeyDifferent},
		"nearly a hash":                           {hash[:51] + "h", other, "", runbook.KeyNew},
		"cannot be read":                          {"web-1", runbook.Key{}, "", runbook.KeyUnknown},
		"cannot be read where one is known":       {"web-1", runbook.Key{}, "aa", runbook.KeyDifferent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := runbook.CompareKey(tc.request, tc.key, tc.known)
			require.Equal(t, tc.want, got)
			require.Equal(t, got != runbook.KeyDifferent, got.InBulk())
			require.Equal(t, got.InBulk(), runbook.KeyWarning(got) == "")
		})
	}
}

func TestKnownKeyReplaces(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	known := runbook.KnownKey{Fingerprint: "a", Since: since}
	for name, tc := range map[string]struct {
		known   runbook.KnownKey
		by      runbook.Certificate
		replace bool
	}{
		"the known key":       {known, runbook.Certificate{Key: "a", Issued: since.Add(-time.Hour)}, false},
		"an older one":        {known, runbook.Certificate{Key: "b", Issued: since.Add(-time.Hour)}, true},
		"a newer one":         {known, runbook.Certificate{Key: "b", Issued: since.Add(time.Hour)}, false},
		"none is known":       {runbook.KnownKey{Since: since}, runbook.Certificate{Key: "b"}, false},
		"without certificate": {known, runbook.Certificate{}, false},
		"an unknown time":     {runbook.KnownKey{Fingerprint: "a"}, runbook.Certificate{Key: "b", Issued: since}, false},
	} {
		require.Equal(t, tc.replace, tc.known.Replaces(tc.by), name)
	}
}

func TestParseSerialAndFingerprint(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"3f2a", "3F2A", "00:3F:2A", "serial=3F2A\n", "0x3f2a"} {
		serial, err := runbook.ParseSerial(text)
		require.NoError(t, err)
		require.Equal(t, "3f2a", serial)
	}
	for _, text := range []string{"", "0", "-1", "+1", "1_0", "g", strings.Repeat("1", 41)} {
		_, err := runbook.ParseSerial(text)
		require.NotNil(t, runbook.AsRefusal(err), text)
	}
	key := strings.Repeat("0a", 32)
	got, err := runbook.ParseFingerprint("SHA256:" + strings.ToUpper(key))
	require.NoError(t, err)
	require.Equal(t, key, got)
	for _, text := range []string{"", key[2:], key + "00", strings.Repeat("g", 64)} {
		_, err := runbook.ParseFingerprint(text)
		require.NotNil(t, runbook.AsRefusal(err), text)
	}
}
