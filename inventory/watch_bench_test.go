package inventory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
)

// BenchmarkSightings measures one look of the inventory watch at 100,000 devices that wait: when nothing has happened
// since the look before, when 1,000 devices have reported since, and a full look. Their statuses are as long as real
// ones, which PostgreSQL stores apart.
func BenchmarkSightings(b *testing.B) {
	store := openMany(b)
	_, err := store.Import(b.Context(), manyDevices(benchmarkDevices), inventory.ImportOptions{})
	require.NoError(b, err)
	store.DB().MustExec(`update devices set status = status || jsonb_build_object('padding',
		(select string_agg(md5(name || n), '') from generate_series(1, 120) n))`)
	_, err = store.OpenRestore(b.Context(), inventory.OpenRestoreInput{ID: "r1"})
	require.NoError(b, err)
	for in := (inventory.RollInput{RestoreID: "r1"}); ; {
		r, err := store.PutOnRoll(b.Context(), in)
		require.NoError(b, err)
		if r.Done {
			break
		}
		in = r.Next(in)
	}
	store.DB().MustExec(`vacuum analyze`)
	look := func(since time.Time) inventory.PendingSignals {
		seen, err := store.PendingSignals(b.Context(),
			inventory.PendingSignalsInput{RestoreID: "r1", Since: since, Claimed: true})
		require.NoError(b, err)
		return seen
	}
	since := look(time.Time{}).At
	run := func(name string, since time.Time, devices int) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				require.Len(b, look(since).Devices, devices)
			}
		})
	}
	run("nothing", since, 0)
	run("full", time.Time{}, 0)
	store.DB().MustExec(`update rollcall.roll set noted_version = '7' where name < 'device-001000'`)
	run("1000-have-reported", since, 1000)
	store.DB().MustExec(`update device_timestamps set last_seen = now()`)
	run("all-have-polled", since, 1000)
}
