package runbook_test

import (
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/runbook"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]runbook.Version{
		"": 0, "0": 0, "7": 7, "10": 10, "9223372036854775807": runbook.MaxVersion,
	} {
		t.Run("accepts "+strconv.Quote(in), func(t *testing.T) {
			t.Parallel()
			got, err := runbook.ParseVersion(in)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
	for _, in := range []string{
		"abc", " 7", "7 ", "+7", "-1", "-0", "007", "00", "7.0", "1e3", "0x7", "7\n", "٧", "７",
		"9223372036854775808", "18446744073709551616", strings.Repeat("9", 40), "\x00", "null",
	} {
		t.Run("refuses "+strconv.Quote(in), func(t *testing.T) {
			t.Parallel()
			_, err := runbook.ParseVersion(in)
			refusal := runbook.AsRefusal(err)
			require.NotNil(t, refusal)
			require.Equal(t, runbook.CodeInvalidVersion, refusal.Code)
			require.Contains(t, refusal.Message, "version")
		})
	}
}

func TestParseVersionAgainstBigNumbers(t *testing.T) {
	t.Parallel()
	limit := new(big.Int).SetInt64(int64(runbook.MaxVersion))
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-9]{1,25}`).Draw(t, "digits")
		n, _ := new(big.Int).SetString(s, 10)
		wanted := n.String() == s && n.Cmp(limit) <= 0
		got, err := runbook.ParseVersion(s)
		require.Equal(t, wanted, err == nil)
		if err == nil {
			require.Equal(t, s, got.String())
		}
	})
}

func TestNextVersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ restored, reported, want string }{
		{"5", "7", "8"},
		{"5", "4", "6"},
		{"9", "10", "11"},
		{"", "", "1"},
		{"v5", "3", "4"},
		{"", "9223372036854775806", "9223372036854775807"},
	} {
		got, err := runbook.NextVersion(tc.restored, tc.reported)
		require.NoError(t, err, "%q and %q", tc.restored, tc.reported)
		require.Equal(t, tc.want, got.String(), "%q and %q", tc.restored, tc.reported)
	}
	for reported, code := range map[string]runbook.Code{
		"9223372036854775807": runbook.CodeVersionExhausted,
		"seven":               runbook.CodeInvalidVersion,
	} {
		_, err := runbook.NextVersion("5", reported)
		require.Equal(t, code, runbook.AsRefusal(err).Code)
	}
}

func TestNextVersionIsAlwaysAccepted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		restored := rapid.Int64Range(0, int64(runbook.MaxVersion)-1).Draw(t, "restored")
		reported := rapid.Int64Range(0, int64(runbook.MaxVersion)-1).Draw(t, "reported")
		next, err := runbook.NextVersion(strconv.FormatInt(restored, 10), strconv.FormatInt(reported, 10))
		require.NoError(t, err)
		require.Greater(t, next, runbook.Version(reported), "a device ignores what is not newer than what it runs")
		require.Greater(t, next, runbook.Version(restored))
		require.Equal(t, runbook.Version(max(restored, reported)+1), next)
	})
}

func FuzzParseVersion(f *testing.F) {
	for _, seed := range []string{
		"", "0", "7", "007", "+7", "-1", " 7", "٧", "9223372036854775807", "9223372036854775808", "abc",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := runbook.ParseVersion(s)
		if err == nil && s != "" {
			require.Equal(t, s, v.String(), "a version that is accepted is stored as it was reported")
		}
		require.GreaterOrEqual(t, v, runbook.Version(0))
	})
}
