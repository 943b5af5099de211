package runbook_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// What a plan is told is read or refused. Waves that are read put each device into one wave, whatever their sites.
func FuzzParsePlan(f *testing.F) {
	f.Add("5,10%,100%", "site=2", "10%", 7)
	f.Add("", "", "", 0)
	f.Add("NaN%,1e-320%", "=0", "Inf%", 3)
	f.Add("1,1,1", "a=99999999999", "0.0001%", 60)
	f.Fuzz(func(t *testing.T, waves, perSite, share string, devices int) {
		if part, err := runbook.ParseShare(share); err == nil {
			require.True(t, share == "" && part == 0 || part > 0 && part <= 1, "%q is %v", share, part)
		} else {
			storable(t, runbook.AsRefusal(err).Message)
		}
		parsed, err := runbook.ParseWaves(waves)
		per, perErr := runbook.ParsePerSite(perSite)
		if err != nil || perErr != nil {
			return
		}
		sites := make([]string, min(max(devices, 0), 100))
		for i := range sites {
			sites[i] = strconv.Itoa(i % 7)
		}
		assigned := runbook.AssignWaves(sites, parsed, per)
		require.Len(t, assigned, len(sites))
		held := map[[2]string]int{}
		for i, wave := range assigned {
			require.GreaterOrEqual(t, wave, 0)
			key := [2]string{strconv.Itoa(wave), sites[i]}
			held[key]++
			require.True(t, per.Most == 0 || held[key] <= per.Most, "wave %d has too many of site %s", wave, sites[i])
		}
	})
}

// A command to a plan is read or refused, and what is read and checked can be stored.
func FuzzPlanCommand(f *testing.F) {
	f.Add([]byte(`{"by":"alice","reason":"looked"}`))
	f.Add([]byte(`{"by":"a\u0000"}`))
	f.Add([]byte(`{"by":"alice","force":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var command runbook.PlanCommand
		if json.Unmarshal(text, &command) != nil || command.Check() != nil {
			return
		}
		kept, err := json.Marshal(command)
		require.NoError(t, err)
		require.NotContains(t, string(kept), `\u0000`)
	})
}
