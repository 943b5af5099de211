package runbook_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/runbook"
)

func TestAssignWaves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waves, perSite string
		sites          []string
		want           []int
	}{
		"one wave":                       {"", "", make([]string, 3), []int{0, 0, 0}},
		"a number, a share, the rest":    {"1,50%,100%", "", make([]string, 6), []int{0, 1, 1, 2, 2, 2}},
		"what the waves leave comes too": {"2", "", make([]string, 5), []int{0, 0, 1, 1, 1}},
		"a share is never no one":        {"1%,100%", "", make([]string, 3), []int{0, 1, 1}},
		"a wave that asks no more goes":  {"5,10%,100%", "", make([]string, 8), []int{0, 0, 0, 0, 0, 1, 1, 1}},
		"one of each site at a time":     {"", "site=1", []string{"a", "a", "b", "a", "", ""}, []int{0, 1, 0, 2, 0, 0}},
	} {
		waves, err := runbook.ParseWaves(c.waves)
		require.NoError(t, err)
		per, err := runbook.ParsePerSite(c.perSite)
		require.NoError(t, err)
		require.Equal(t, c.want, runbook.AssignWaves(c.sites, waves, per), name)
	}
}

// Every device is in one wave, no wave is empty, and no wave has too many of a site.
func TestAssignWavesForgetsNobody(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sites := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c"}), 0, 60).Draw(t, "sites")
		wave := rapid.OneOf(
			rapid.Map(rapid.Int64Range(1, 70), func(n int64) runbook.Wave { return runbook.Wave{Devices: n} }),
			rapid.Map(rapid.Float64Range(0.1, 100), func(p float64) runbook.Wave { return runbook.Wave{Percent: p} }),
		)
		waves := rapid.SliceOfN(wave, 1, 5).Draw(t, "waves")
		per := runbook.PerSite{Label: "site", Most: rapid.IntRange(0, 4).Draw(t, "most")}
		assigned := runbook.AssignWaves(sites, waves, per)
		require.Len(t, assigned, len(sites))
		held, last := map[int]map[string]int{}, -1
		for i, w := range assigned {
			if held[w] == nil {
				held[w] = map[string]int{}
			}
			held[w][sites[i]]++
			last = max(last, w)
		}
		for w := range last + 1 {
			require.NotEmpty(t, held[w], "wave %d", w)
			for site, n := range held[w] {
				require.True(t, site == "" || per.Most == 0 || n <= per.Most)
			}
		}
	})
}

func TestAPlanThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	for want, in := range map[string]runbook.PlanInput{
		"planId and by":   {PlanID: "p"},
		"waves":           {PlanID: "p", By: "ann", Waves: "5,0"},
		`at "101%"`:       {PlanID: "p", By: "ann", Waves: "101%"},
		`at "NaN%"`:       {PlanID: "p", By: "ann", Waves: "NaN%"},
		"per-site":        {PlanID: "p", By: "ann", PerSite: "site"},
		"soak":            {PlanID: "p", By: "ann", Soak: "10"},
		"awayAfter":       {PlanID: "p", By: "ann", AwayAfter: "-1s"},
		"askTimeout":      {PlanID: "p", By: "ann", AskTimeout: "-1s"},
		"askTimeout is 0": {PlanID: "p", By: "ann", AskTimeout: "0s"},
		"maxFailures is":  {PlanID: "p", By: "ann", MaxFailures: -1},
		"a NUL character": {PlanID: "p", By: "ann", Reason: "\x00"},
	} {
		_, err := in.Check()
		require.ErrorContains(t, err, want)
		require.NotNil(t, runbook.AsRefusal(err))
	}
	rollout, err := runbook.PlanInput{PlanID: "p", By: "ann"}.Check()
	require.NoError(t, err)
	require.Equal(t, runbook.DefaultAwayAfter, rollout.AwayAfter)
	require.Equal(t, time.Duration(0), rollout.Soak)
}

func TestParseShare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"": 0, "10%": 0.1, "100%": 1} {
		share, err := runbook.ParseShare(text)
		require.NoError(t, err)
		require.InDelta(t, want, share, 1e-9, text)
	}
	for _, text := range []string{"10", "0%", "101%", "-1%", "NaN%", "ten%"} {
		_, err := runbook.ParseShare(text)
		require.ErrorContains(t, err, "cannot be read", text)
	}
}

func TestResumePolicy(t *testing.T) {
	t.Parallel()
	require.NoError(t, runbook.ResumePolicy{}.Check("", ""))
	strict := runbook.ResumePolicy{RequireReason: true, MaxShare: 0.25}
	require.Equal(t, runbook.CodeReasonRequired, runbook.AsRefusal(strict.Check("p", " ")).Code)
	require.Equal(t, runbook.CodePlanRequired, runbook.AsRefusal(strict.Check("", "checked")).Code)
	require.NoError(t, strict.Check("p", "checked"))
	require.NoError(t, strict.CheckPlan(25, 100, "checked"))
	refusal := runbook.AsRefusal(strict.CheckPlan(26, 100, "checked"))
	require.Equal(t, runbook.CodePlanTooLarge, refusal.Code)
	require.Contains(t, refusal.Message, "26 of 100 devices, and at most 25%")
	require.Equal(t, runbook.CodeReasonRequired, runbook.AsRefusal(strict.CheckPlan(1, 100, "")).Code)
}

func TestAPlanKnowsItsOwnRequests(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"p", "2/p", "again/2/p", "plan/p", ""} {
		for try := 1; try <= runbook.PlanTries; try++ {
			own := "update/" + runbook.PlanUpdateID(id, try)
			require.True(t, runbook.IsPlanRequest(id, own), own)
			require.Equal(t, runbook.ViaPlan, runbook.ViaOf(own, runbook.Origin{}))
			require.False(t, runbook.IsPlanRequest("q", own), own)
			require.Equal(t, id == "p", runbook.IsPlanRequest("p", own), own)
		}
	}
	for _, foreign := range []string{"", "plan/p", "update/p", "signal/plan/p", "update/plan-again/9/p"} {
		require.False(t, runbook.IsPlanRequest("p", foreign), foreign)
	}
}
