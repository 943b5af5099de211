package runbook_test

import (
	"strings"
	"testing"

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
		want    runbook.KeyStanding
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
