package inventory_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

// catalog is all that PostgreSQL knows of what is in the schema public: columns, indexes, triggers (those of foreign
// keys among them), constraints and functions.
const catalog = `
select coalesce(string_agg(line, e'\n' order by line), '') from (
    select format('column %s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid)) as line
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 left
    join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p')
    union all select format('table %s %s %s', c.relname, c.relkind, c.reloptions) from pg_class c
    where c.relnamespace = 'public'::regnamespace
    union all select pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid
    where c.relnamespace = 'public'::regnamespace
    union all select format('%s %s', pg_get_triggerdef(t.oid), t.tgenabled) from pg_trigger t
    join pg_class c on c.oid = t.tgrelid where c.relnamespace = 'public'::regnamespace
    union all select format('%s %s', n.conname, pg_get_constraintdef(n.oid)) from pg_constraint n
    where n.connamespace = 'public'::regnamespace
    union all select pg_get_functiondef(p.oid) from pg_proc p where p.pronamespace = 'public'::regnamespace
    and p.prokind = 'f'
) as everything`

func TestMigrateAltersNothingOfFlightControls(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	store := openStore(t, url)
	store.DB().MustExec(flightctl)
	full().create(t, store)
	before, rows := *readString(t, store, catalog), snapshotOf(t, store, "devices", "organizations", "device_timestamps",
		"device_labels", "events")
	require.Contains(t, before, "device_change_number")

	result, err := inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	require.Equal(t, inventory.MigrateResult{From: 0, To: newest(t)}, result)
	require.Equal(t, before, *readString(t, store, catalog))
	require.Equal(t, rows,
		snapshotOf(t, store, "devices", "organizations", "device_timestamps", "device_labels", "events"))
	require.NoError(t, store.CheckSchema(t.Context()))
}

// newest is the version of the newest migration, by the name of its file.
func newest(t *testing.T) int64 {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql")
	require.NoError(t, err)
	number, _, _ := strings.Cut(filepath.Base(files[len(files)-1]), "_")
	version, err := strconv.ParseInt(number, 10, 64)
	require.NoError(t, err)
	return version
}

func snapshotOf(t *testing.T, store *inventory.Store, tables ...string) (all []string) {
	for _, table := range tables {
		all = append(all,
			*readString(t, store,
				`select coalesce(string_agg(cast(x as text), e'\n' order by cast(x as text)), '') from `+table+` x`))
	}
	return all
}

func TestMigrateMakesOnlyTheTablesThatAreMissing(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	store := openStore(t, url)
	store.DB().MustExec(flightctl)
	store.DB().MustExec(`drop trigger device_timestamps_insert on devices; drop table device_timestamps; drop table events
		cascade; drop trigger device_labels_sync on devices; drop trigger device_labels_insert on devices;
		drop table device_labels`)
	d := full()
	d.create(t, store)
	store.DB().MustExec(`update devices set labels = '{"site": "a"}'`)
	before := *readString(t, store, catalog)
	_, err := inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	after := *readString(t, store, catalog)
	store.DB().MustExec(`drop table device_timestamps, device_labels, events`)
	require.Equal(t, before, *readString(t, store, catalog), "what was there stays as it was")
	require.Contains(t, after, "column device_timestamps.last_seen")
	require.Contains(t, after, "column events.reason")
}

func TestMigrateOnAnEmptyDatabaseKeepsTablesInStep(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.DB().MustExec(`insert into devices (org_id, name, labels) values ('00000000-0000-0000-0000-000000000000', 'd',
		'{"site": "a", "env": "prod"}')`)
	require.Equal(t, 1, count(t, store, `select count(*) from device_timestamps where name = 'd' and last_seen is null`))
	labels := `select string_agg(label_key || '=' || label_value, ',' order by label_key) from device_labels`
	require.Equal(t, "env=prod,site=a", *readString(t, store, labels))
	store.DB().MustExec(`update devices set labels = '{"site": "b"}'`)
	require.Equal(t, "site=b", *readString(t, store, labels))
	store.DB().MustExec(`update devices set labels = null`)
	require.Nil(t, readString(t, store, labels))
	store.DB().MustExec(`delete from devices`)
	require.Zero(t, count(t, store, `select count(*) from device_timestamps`))
}

func TestMigrationsAtTheSameTimeWaitForEachOther(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	made := make([]inventory.MigrateResult, 6)
	together(t, nil, len(made), func(i int) (err error) {
		made[i], err = inventory.Migrate(t.Context(), url)
		return err
	})
	first := 0
	for _, m := range made {
		require.Equal(t, newest(t), m.To)
		if m.From == 0 {
			first++
		}
	}
	require.Equal(t, 1, first)
}

func TestCheckSchemaSaysWhatToDo(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	store := openStore(t, url)
	require.ErrorContains(t, store.CheckSchema(t.Context()), "starter migrate")
	require.Zero(t, count(t, store, `select count(*) from pg_namespace where nspname = 'rollcall'`),
		"to look is not to make")

	_, err := inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, store.CheckSchema(t.Context()))
	store.DB().MustExec(`insert into rollcall.goose_db_version (version_id, is_applied) values (1000, true)`)
	require.ErrorContains(t, store.CheckSchema(t.Context()), "newer program")
	store.DB().MustExec(`delete from rollcall.goose_db_version where version_id > 1`)
	require.ErrorContains(t, store.CheckSchema(t.Context()), "starter migrate")
}

func TestOpenTellsThatTheDatabaseCannotBeReached(t *testing.T) {
	t.Parallel()
	_, err := inventory.Open(t.Context(), "postgres://unknown@127.0.0.1:1/none?sslmode=disable")
	require.ErrorContains(t, err, "reach the database")
}

// Flight Control's shipped databases have an event trigger that grants on its tables whenever someone makes a table.
func TestMigrateAsOneWhoMayNot(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	owner := openStore(t, url)
	owner.DB().MustExec(flightctl)
	owner.DB().MustExec(`create function grant_all() returns event_trigger language plpgsql as $$ begin
		grant select on all tables in schema public to public; end $$;
		create event trigger granting on ddl_command_end when tag in ('CREATE TABLE') execute function grant_all()`)
	name := "other_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	owner.DB().MustExec(`create role ` + name + ` nologin; do $$ begin
		execute format('grant create on database %I to ` + name + `', current_database()); end $$`)
	t.Cleanup(func() { owner.DB().MustExec(`drop owned by ` + name + ` cascade; drop role ` + name) })
	_, err := inventory.Migrate(t.Context(), devtest.As(t, url, name))
	require.ErrorContains(t, err, "permission denied")
	require.ErrorContains(t, err, "do it as the owner of Flight Control's tables, such as flightctl_migrator")
	_, err = inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	require.ErrorContains(t, inventory.CreateRoles(t.Context(), devtest.As(t, url, name)), "do it as a superuser")
}
