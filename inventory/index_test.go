package inventory_test

import (
	"crypto/md5"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

// manyRows are 20,000 devices that await their reconnect in r1, and older restores that each had a fifth of them on its
// roll. VACUUM marks a page as one that everybody sees, which an index alone can answer for, only once the commit is on
// disk.
const manyRows = `
set synchronous_commit = on;
insert into devices (org_id, name, owner, labels, annotations, resource_version, updated_at, status)
select '00000000-0000-0000-0000-000000000000', md5(cast(i as text)), 'Fleet/fleet-' || i % 100,
    jsonb_build_object('site', 'site-' || i % 200, 'environment', (array['production', 'staging', 'test'])[1 + i % 3]),
    '{"device-controller/renderedVersion": "5", "device-controller/awaitingReconnect": "true"}', 1, now(),
    jsonb_build_object('summary', jsonb_build_object('status',
    case when i % 100 = 0 then 'ConflictPaused' else 'AwaitingReconnect' end),
        'updated', '{"status": "Unknown"}'::jsonb, 'config', '{"renderedVersion": "5"}'::jsonb, 'padding',
        (select string_agg(md5(i || '-' || n), '') from generate_series(1, 40) n))
from generate_series(1, 20000) i;
insert into rollcall.restores (id, state, rolled_at, started_at) values ('r1', 'Running', now(), now());
insert into rollcall.restores (id, state, rolled_at, started_at) select 'old' || o, 'Superseded', now(),
now() - o * interval '1 day' from generate_series(1, 9) o;
insert into rollcall.roll (restore_id, org_id, name, seq, state, restored_version, superseded)
select 'r1', org_id, name, row_number() over (order by name), 'AwaitingReconnect', '5', false from devices;
insert into rollcall.roll (restore_id, org_id, name, seq, state, restored_version, superseded)
select 'old' || o, org_id, name, seq, 'AwaitingReconnect', '5', true from rollcall.roll, generate_series(1, 9) o
where seq <= 4000;
insert into rollcall.transitions (restore_id, org_id, name, transition, to_state) select restore_id, org_id, name, 'T1',
state from rollcall.roll;`

// wholeReads counts for each table how often PostgreSQL has read the whole of it, and how often it has gone by an
// index.
const wholeReads = `
select relname, coalesce(seq_scan, 0) as seq, coalesce(idx_scan, 0) as idx from pg_stat_user_tables
where relname in ('devices', 'roll', 'transitions', 'device_timestamps') order by relname`

type tableReads struct {
	Table string `db:"relname"`
	Seq   int    `db:"seq"`
	Index int    `db:"idx"`
}

func readsOf(t *testing.T, store *inventory.Store) map[string]tableReads {
	var rows []tableReads
	require.NoError(t, store.DB().SelectContext(t.Context(), &rows, wholeReads))
	found := map[string]tableReads{}
	for _, r := range rows {
		found[r.Table] = r
	}
	return found
}

// planned is how often a prepared statement is carried out until PostgreSQL may keep one plan for it.
const planned = 7

// What a device or an operator asks again and again must not cost more in a larger fleet. It is PostgreSQL's own count
// of what it did, with the plans that the statements really got.
func TestNothingReadsAWholeTable(t *testing.T) {
	t.Parallel()
	reads := map[string]func(t *testing.T, store *inventory.Store) error{
		"get devices by label": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Devices(t.Context(), inventory.Query{Labels: mustLabels(t, "site=site-7,environment!=test")})
			return err
		},
		"get devices by a set of labels": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Devices(t.Context(), inventory.Query{Labels: mustLabels(t, "site in (site-7,site-8)")})
			return err
		},
		"get devices by status": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Devices(t.Context(),
				inventory.Query{Fields: mustFields(t, "devices", "status.summary.status=ConflictPaused")})
			return err
		},
		"get devices by label and owner": func(t *testing.T, store *inventory.Store) error {
			q := inventory.Query{
				Labels: mustLabels(t, "site=site-7"),
				Fields: mustFields(t, "devices", "metadata.owner=Fleet/fleet-7"),
			}
			_, err := store.Devices(t.Context(), q)
			return err
		},
		"get devices by a part of the name": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Devices(t.Context(),
				inventory.Query{Fields: mustFields(t, "devices", "metadata.name contains c4ca42")})
			return err
		},
		"the first of many": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Devices(t.Context(), inventory.Query{Labels: mustLabels(t, "environment=production"), Limit: 50})
			return err
		},
		"where devices stand": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Position(t.Context(), inventory.Query{Names: []string{benchName}})
			return err
		},
		"status of an older restore": func(t *testing.T, store *inventory.Store) error {
			_, err := store.RestoreStatus(t.Context(), "old1")
			return err
		},
		"a slice of the roll": func(t *testing.T, store *inventory.Store) error {
			_, err := store.OpenEntries(t.Context(), "r1", runbook.Slice{From: 100, To: 600})
			return err
		},
		"a wave of devices": func(t *testing.T, store *inventory.Store) error {
			for wave := range 3 {
				if _, err := store.Claim(t.Context(),
					inventory.ClaimInput{RestoreID: "r1", Batch: 7, Wave: wave, Limit: 25}); err != nil {
					return err
				}
			}
			_, err := store.BatchEntries(t.Context(), "r1", 7)
			return err
		},
		"many reports": func(t *testing.T, store *inventory.Store) error {
			var reports []inventory.NoteReportInput
			for i := range 100 {
				reports = append(reports, inventory.NoteReportInput{
					RestoreID: "r1",
					Name:      fmt.Sprintf("%x", md5.Sum(fmt.Append(nil, 500+i))), Version: "5",
				})
			}
			_, err := store.NoteReports(t.Context(), runbook.DefaultOrgID, reports)
			return err
		},
		"a device's place on the roll": func(t *testing.T, store *inventory.Store) error {
			_, err := store.WaitingEntry(t.Context(), "r1", runbook.DefaultOrgID, benchName)
			return err
		},
		"T2": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Reconnect(t.Context(), reconnectOf(benchName, "5"))
			return err
		},
		"T3, the report again, and T4": func(t *testing.T, store *inventory.Store) error {
			for _, version := range []string{"7", "8"} {
				if _, err := store.Reconnect(t.Context(), reconnectOf(otherBenchName, version)); err != nil {
					return err
				}
			}
			_, err := store.Resume(t.Context(), resumeOf(otherBenchName, "bob"))
			return err
		},
		"T2 of many at the same time": func(t *testing.T, store *inventory.Store) error {
			together(t, nil, 64, func(i int) error {
				_, err := store.Reconnect(t.Context(), reconnectOf(fmt.Sprintf("%x", md5.Sum(fmt.Append(nil, 100+i))), "5"))
				return err
			})
			return nil
		},
		"a device's audit": func(t *testing.T, store *inventory.Store) error {
			_, err := store.Transitions(t.Context(), runbook.DefaultOrgID, benchName, 20)
			return err
		},
		"who waits longest": func(t *testing.T, store *inventory.Store) error {
			_, err := store.LongestWaiting(t.Context(), "old1", 10)
			return err
		},
		"where an agent's device stands": func(t *testing.T, store *inventory.Store) error {
			for range planned {
				if _, _, err := store.AgentDevice(t.Context(), runbook.DefaultOrgID, benchName, runbook.Certificate{}); err != nil {
					return err
				}
			}
			return nil
		},
		"where the devices of many held polls stand": func(t *testing.T, store *inventory.Store) error {
			names := make([]string, 500)
			for i := range names {
				names[i] = fmt.Sprintf("%x", md5.Sum(fmt.Append(nil, 200+i)))
			}
			for range planned {
				found, err := store.AgentDevices(t.Context(), runbook.DefaultOrgID, names)
				if err != nil {
					return err
				}
				require.Len(t, found, len(names))
			}
			return nil
		},
		"the newest entry of the audit": func(t *testing.T, store *inventory.Store) error {
			_, err := store.LastMove(t.Context())
			return err
		},
	}
	for kind, migrated := range map[string]func(*testing.T) string{
		"own":       func(t *testing.T) string { return devtest.Database(t) },
		"flightctl": flightctlDatabase,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := migrated(t)
			setup, err := inventory.Open(t.Context(), url)
			require.NoError(t, err)
			setup.DB().MustExec(manyRows)
			setup.DB().MustExec(`vacuum analyze`)
			require.NoError(t, setup.Close())
			watching := openStore(t, url)
			require.Eventually(t, func() bool { // else what it has read could be counted as another's
				return count(t, watching, `select count(*) from pg_stat_activity where datname = current_database()
					and pid <> pg_backend_pid()`) == 0
			}, waitFor, tick)
			readsNoWholeTable := func(name string, read func(t *testing.T, store *inventory.Store) error) {
				before := readsOf(t, watching)
				acting, err := inventory.Open(t.Context(), url)
				require.NoError(t, err)
				require.NoError(t, read(t, acting), name)
				require.NoError(t, acting.Close()) // a session tells of its counts at its end
				var after map[string]tableReads
				require.Eventually(t, func() bool {
					after = readsOf(t, watching)
					return after["devices"].Index+after["roll"].Index+after["transitions"].Index >
						before["devices"].Index+before["roll"].Index+before["transitions"].Index
				}, waitFor, tick, "%s: has used no index", name)
				for table := range before {
					require.Equal(t, before[table].Seq, after[table].Seq, "%s: has read the whole of %s", name, table)
				}
			}
			for name, read := range reads {
				readsNoWholeTable(name, read)
			}
			// last, as they supersede r1; by page with a sweep by name, and by name
			for _, org := range []string{"", runbook.DefaultOrgID} {
				readsNoWholeTable("T1", func(t *testing.T, store *inventory.Store) error {
					id := "r2" + org
					openRestore(t, store, id, org)
					in, put := inventory.RollInput{RestoreID: id, Limit: 500}, 0
					for done := false; !done; {
						part, err := store.PutOnRoll(t.Context(), in)
						if err != nil {
							return err
						}
						in, put, done = part.Next(in), put+part.Put, part.Done
					}
					require.Equal(t, 20_000, put)
					require.Equal(t, org == "", in.ToPage > 0)
					return nil
				})
				cancelRestore(t, watching, "r2"+org)
			}
		})
	}
}

const (
	benchName      = "c4ca4238a0b923820dcc509a6f75849b" // md5 of "1"
	otherBenchName = "c81e728d9d4c2f636f067f89cc14862c" // md5 of "2"
)

func flightctlDatabase(t *testing.T) string {
	url := devtest.EmptyDatabase(t)
	store, err := inventory.Open(t.Context(), url)
	require.NoError(t, err)
	store.DB().MustExec(flightctl)
	require.NoError(t, store.Close())
	_, err = inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	return url
}
