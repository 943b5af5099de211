package authority_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
)

func TestAging(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	ca := made(t)
	r, err := authority.ReadRequest(block("CERTIFICATE REQUEST", csrBytes(t, "web-7", ecdsaKey(t))))
	require.NoError(t, err)
	signed := func(by *authority.CA, lifetime time.Duration) string {
		text, err := by.SignRequest(r, "web-7", lifetime)
		require.NoError(t, err)
		return string(text)
	}
	year, tenDays, theCAs := signed(ca, 365*day), signed(ca, 10*day), signed(ca, 100*365*day)
	end := ca.Certificate().NotAfter
	now := time.Now()
	due, expired, nothing := authority.Aging{Due: true}, authority.Aging{Due: true, Expired: true}, authority.Aging{}
	for name, tc := range map[string]struct {
		text     string
		lifetime time.Duration
		at       time.Time
		want     authority.Aging
	}{
		"fresh":                             {year, 365 * day, now, nothing},
		"31 days before its end":            {year, 365 * day, now.Add(334 * day), nothing},
		"29 days before its end":            {year, 365 * day, now.Add(336 * day), due},
		"after its end":                     {year, 365 * day, now.Add(366 * day), expired},
		"a short one, fresh":                {tenDays, 10 * day, now, nothing},
		"a short one, in its last tenth":    {tenDays, 10 * day, now.Add(9*day + time.Hour), due},
		"a new one would end before it":     {year, day, now.Add(336 * day), nothing},
		"no longer than the authority":      {theCAs, 365 * day, end.Add(-day), nothing},
		"expired together with the CA":      {theCAs, 365 * day, end.Add(time.Second), expired},
		"someone else's":                    {signed(made(t), 365*day), 365 * day, now.Add(366 * day), nothing},
		"no certificate that could be read": {"theirs", 365 * day, now, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, ca.Aging(tc.text, tc.lifetime, tc.at))
		})
	}
}
