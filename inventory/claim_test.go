package inventory_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// claimable is a restore of n devices, d00 and on.
func claimable(t *testing.T, n int) *inventory.Store {
	t.Helper()
	var fleet []device
	for i := range n {
		fleet = append(fleet, reporting(fmt.Sprintf("d%02d", i), "5"))
	}
	return restored(t, newStore(t), fleet...)
}

func claim(t *testing.T, store *inventory.Store, batch, wave, limit int) (names []string) {
	t.Helper()
	entries, err := store.Claim(t.Context(), inventory.ClaimInput{RestoreID: "r1", Batch: batch, Wave: wave, Limit: limit})
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

func TestWavesClaimThoseFirstThatAreThere(t *testing.T) {
	t.Parallel()
	store := claimable(t, 10)
	require.True(t, note(t, store, "d07", "5"))
	require.True(t, note(t, store, "d04", ""))
	moved := []inventory.PendingSignal{
		{OrgID: runbook.DefaultOrgID, Name: "d09"}, {OrgID: runbook.DefaultOrgID, Name: "d07"},
	}
	require.NoError(t, store.CallFirst(t.Context(), "r1", moved))
	entries, err := store.Claim(t.Context(), inventory.ClaimInput{RestoreID: "r1", Limit: 4})
	require.NoError(t, err)
	type claimed struct {
		name, noted string
		look        bool
	}
	var got []claimed
	for _, e := range entries {
		require.NotNil(t, e.Batch)
		require.False(t, e.Since.IsZero())
		got = append(got, claimed{e.Name, e.Noted, e.Look})
	}
	require.Equal(t, []claimed{
		{"d00", "", false}, {"d04", "0", false}, {"d07", "5", false}, {"d09", "", true},
	}, got)

	require.Equal(t, []string{"d01", "d02"}, claim(t, store, 1, 0, 2), "in the order of the roll")
	require.True(t, note(t, store, "d08", "7"))
	require.Equal(t, []string{"d03", "d08"}, claim(t, store, 0, 1, 2))
	again := claim(t, store, 0, 0, 2)
	require.Equal(t, []string{"d00", "d04", "d07", "d09"}, again, "the same devices, whatever the limit is by now")
	require.Equal(t, []string{"d05", "d06"}, claim(t, store, 1, 1, 5), "who is left")
	require.Empty(t, claim(t, store, 1, 2, 5))

	found, err := store.BatchEntries(t.Context(), "r1", 0)
	require.NoError(t, err)
	require.Equal(t, 6, found.Claimed)
	require.Equal(t, 2, found.NextWave)
	send(t, store, reconnectOf("d07", "5"))
	again = claim(t, store, 0, 0, 4)
	require.Equal(t, []string{"d00", "d04", "d07", "d09"}, again, "also once one of them has been answered")
	found, err = store.BatchEntries(t.Context(), "r1", 0)
	require.NoError(t, err)
	require.Len(t, found.Open, 5)
	require.Equal(t, 6, found.Claimed)
}

// A device is claimed once, and each is claimed, whoever claims and notes at the same time.
func TestConcurrentWavesShareTheRoll(t *testing.T) {
	t.Parallel()
	const devices, batches = 60, 4
	store := claimable(t, devices)
	var (
		mu   sync.Mutex
		seen []string
	)
	together(t, nil, batches+2, func(i int) error {
		if i >= batches {
			for d := range devices {
				_, err := store.NoteReports(t.Context(), runbook.DefaultOrgID, []inventory.NoteReportInput{
					{RestoreID: "r1", Name: fmt.Sprintf("d%02d", devices-1-d), Version: "5"},
					{RestoreID: "r1", Name: fmt.Sprintf("d%02d", d), Version: "5"},
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
		for wave := 0; ; wave++ {
			entries, err := store.Claim(t.Context(), inventory.ClaimInput{RestoreID: "r1", Batch: i, Wave: wave, Limit: 3})
			if err != nil {
				wave--
				continue // a deadlock, which is tried again
			}
			if len(entries) == 0 {
				return nil
			}
			mu.Lock()
			for _, e := range entries {
				seen = append(seen, e.Name)
			}
			mu.Unlock()
		}
	})
	slices.Sort(seen)
	require.Len(t, seen, devices)
	require.Len(t, slices.Compact(seen), devices)
}

// Whether a report came before its device was claimed is decided once: the workflow begins with it, or the note says
// that the workflow must be told.
func TestANoteKnowsWhetherTheDeviceWasClaimed(t *testing.T) {
	t.Parallel()
	store := claimable(t, 3)
	noted := func(name, version string) []inventory.Noted {
		reports := []inventory.NoteReportInput{{RestoreID: "r1", Name: name, Version: version}}
		noted, err := store.NoteReports(t.Context(), runbook.DefaultOrgID, reports)
		require.NoError(t, err)
		return noted
	}
	due := func() []inventory.PendingSignal {
		seen, err := store.PendingSignals(t.Context(), inventory.PendingSignalsInput{RestoreID: "r1"})
		require.NoError(t, err)
		return seen.Devices
	}
	require.Equal(t, []inventory.Noted{{Name: "d01", Called: false}}, noted("d01", "5"))
	require.False(t, agentDevice(t, store, "d01").Called)
	require.Empty(t, due(), "it will be claimed with its report")
	require.Equal(t, []string{"d00", "d01"}, claim(t, store, 0, 0, 2))
	require.True(t, agentDevice(t, store, "d01").Called)
	require.Empty(t, due(), "its workflow begins with it")
	require.Equal(t, []inventory.Noted{{Name: "d01", Called: true}}, noted("d01", "7"))
	require.Len(t, due(), 1)
	require.Equal(t, "7", due()[0].Version)

	// Of a restore that an earlier release has begun no one is claimed, and each workflow must be told.
	store.DB().MustExec(`update rollcall.restores set by_wave = false`)
	require.True(t, agentDevice(t, store, "d02").Called)
	require.Equal(t, []inventory.Noted{{Name: "d02", Called: true}}, noted("d02", "5"))
	require.Len(t, due(), 2)
}

// A restore that is taken up again claims again what belonged to batches that it does not have.
func TestBeginningTheWavesAgain(t *testing.T) {
	t.Parallel()
	store := claimable(t, 6)
	store.DB().MustExec(`update rollcall.restores set by_wave = false`)
	for batch := range 3 {
		require.Len(t, claim(t, store, batch, 0, 2), 2)
	}
	send(t, store, reconnectOf("d05", "5"))
	require.NoError(t, store.BeginWaves(t.Context(), "r1", 1))
	require.True(t, func() (byWave bool) {
		require.NoError(t, store.DB().Get(&byWave, `select by_wave from rollcall.restores`))
		return byWave
	}())
	require.Equal(t, []string{"d00", "d01"}, claim(t, store, 0, 0, 9))
	require.Equal(t, []string{"d02", "d03", "d04"}, claim(t, store, 0, 1, 9), "but for who has been answered")
}

func TestNothingIsClaimedForARestoreThatHasEnded(t *testing.T) {
	t.Parallel()
	store := claimable(t, 2)
	openRestore(t, store, "r2")
	_, err := store.Claim(t.Context(), inventory.ClaimInput{RestoreID: "r1", Limit: 9})
	require.Equal(t, runbook.CodeSuperseded, runbook.AsRefusal(err).Code)
	require.Equal(t, runbook.CodeSuperseded, runbook.AsRefusal(store.BeginWaves(t.Context(), "r1", 1)).Code)
}
