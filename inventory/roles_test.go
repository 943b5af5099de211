package inventory_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// The audit can be appended to and read; no role can change it, or take away what refuses the change.
func TestNoRoleCanChangeTheAudit(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	owner := openStore(t, database)
	versioned("web-7", "5").create(t, owner)
	openRestore(t, owner, "r1")
	putAll(t, owner, "r1")
	require.Equal(t, 1, count(t, owner, `select count(*) from rollcall.transitions`))
	for _, role := range roles.All {
		store := openStore(t, devtest.As(t, database, role))
		require.NoError(t, store.CheckSchema(t.Context()), role)
		require.Equal(t, 1, count(t, store, `select count(*) from rollcall.transitions`), role)
		for _, attack := range []string{
			`update rollcall.transitions set actor = 'mallory'`,
			`delete from rollcall.transitions`,
			`truncate rollcall.transitions`,
			`alter table rollcall.transitions disable trigger all`,
			`drop trigger transitions_append_only on rollcall.transitions`,
			`drop table rollcall.transitions`,
			`create or replace function rollcall.refuse_change() returns trigger language plpgsql as 'begin return null; end'`,
			`create table rollcall.other (x int)`,
			`set session_replication_role = replica`,
			`update rollcall.goose_db_version set version_id = 0`,
			`update rollcall.decisions set actor = 'mallory'`,
			`delete from rollcall.decision_targets`,
			`delete from rollcall.revocations`,
			`delete from rollcall.restores`,
			`delete from rollcall.roll`,
			`delete from devices`,
			`delete from events`,
		} {
			_, err := store.DB().Exec(attack)
			require.Error(t, err, "%s: %s", role, attack)
			require.Regexp(t, "permission denied|must be owner", err.Error(), "%s: %s", role, attack)
		}
		_, err := store.DB().Exec(`insert into rollcall.transitions (restore_id, org_id, name, transition)
		values ('r1', $1, 'web-7', 'T4')`, runbook.DefaultOrgID)
		if role == roles.Worker {
			require.NoError(t, err)
			owner.DB().MustExec(`alter table rollcall.transitions disable trigger all;
		delete from rollcall.transitions where transition = 'T4'`)
			owner.DB().MustExec(`alter table rollcall.transitions enable trigger all`)
			continue
		}
		require.ErrorContains(t, err, "permission denied", role)
	}
}

// Who only shows or decides cannot write what a transition writes; readiness tells who can.
func TestRolesThatOnlyRead(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	for role, writes := range map[string]bool{
		roles.Worker: true, roles.Gateway: true, roles.Reader: false, roles.Operator: false,
	} {
		err := openStore(t, devtest.As(t, database, role)).CheckWritable(t.Context())
		if writes {
			require.NoError(t, err, role)
			continue
		}
		require.ErrorContains(t, err, "permission denied", role)
	}
}

// A plan says who has started it, and a device is resumed in that name. Whoever makes plans cannot say so, nor change
// one that runs.
func TestOnlyTheWorkerChangesPlans(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	for _, role := range roles.All {
		store := openStore(t, devtest.As(t, database, role))
		for _, change := range []string{
			`update rollcall.plans set state = 'Running', decided_by = 'mallory'`,
			`update rollcall.plan_devices set answer = 'Resumed'`,
			`insert into rollcall.plans (id, org_id, restore_id, planned_by, expires_at, state, decided_by, decided_identity)
				values ('p', gen_random_uuid(), 'r', 'mallory', now(), 'Running', 'alice', 'authenticated')`,
			`insert into rollcall.plan_devices (plan_id, org_id, name, seq, answer) values ('p', gen_random_uuid(), 'a', 0, 'x')`,
		} {
			_, err := store.DB().Exec(change)
			if role == roles.Worker && strings.HasPrefix(change, "update") {
				require.NoError(t, err)
				continue
			}
			require.ErrorContains(t, err, "permission denied", "%s: %s", role, change)
		}
	}
}

// A table that a later migration makes is to be decided on here, too.
func TestEachTableHasItsGrants(t *testing.T) {
	t.Parallel()
	owner := openStore(t, devtest.Database(t))
	for _, role := range roles.All {
		require.Nil(t, readString(t, owner, `select string_agg(c.oid::regclass::text, ', ') from pg_class c
			where c.relnamespace = 'rollcall'::regnamespace and c.relkind in ('r', 'p')
			and not has_table_privilege($1, c.oid, 'select')`, role),
			"tables that %s cannot read: say in the package roles who may do what with them", role)
	}
}

func TestRolesAreCreatedAgain(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	require.ErrorContains(t, inventory.CreateRoles(t.Context(), url), "rollcall", "there is no schema yet")
	_, err := inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, inventory.CreateRoles(t.Context(), url))
	owner := openStore(t, url)
	owner.DB().MustExec(`grant delete on rollcall.transitions to rollcall_worker`)
	require.NoError(t, inventory.CreateRoles(t.Context(), url))
	require.Equal(t, 0, count(t, owner, `select count(*) from pg_class where oid = 'rollcall.transitions'::regclass
		and has_table_privilege('rollcall_worker', oid, 'delete')`), "rights that are not a role's are taken back")
}

// Flight Control's triggers write its other tables with the rights of whoever writes a device.
func TestRolesSatisfyFlightControlsTriggers(t *testing.T) {
	t.Parallel()
	url := flightctlDatabase(t)
	require.NoError(t, inventory.CreateRoles(t.Context(), url))
	owner := openStore(t, url)
	// a trigger of the miniature that is not Flight Control's
	owner.DB().MustExec(`grant select, insert, update on event_counts to rollcall_worker, rollcall_operator`)
	restoredWithRequest(t, owner)
	worker := openStore(t, devtest.As(t, url, roles.Worker))
	approved, err := worker.Approve(t.Context(), approveOf("new", "alice"))
	require.NoError(t, err)
	require.Nil(t, approved.Refusal)
	_, err = owner.CloseRestore(t.Context(),
		inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled}) // an import is refused while it runs
	require.NoError(t, err)
	operator := openStore(t, devtest.As(t, url, roles.Operator))
	_, err = operator.Import(t.Context(), strings.NewReader(`{"kind": "Device", "apiVersion": "v1beta1",
		"metadata": {"name": "web-8", "labels": {"site": "berlin"}}}`), inventory.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, 2, count(t, owner,
		`select count(*) from device_labels where label_key = 'site' and label_value = 'berlin'`))
}

// A backup of the whole database by one of Flight Control's roles ends at what that role may not read.
func TestFlightControlsBackupReadsTheSchema(t *testing.T) {
	t.Parallel()
	url := devtest.EmptyDatabase(t)
	owner := openStore(t, url)
	theirs := []string{"flightctl_app", "flightctl_migrator"}
	for _, role := range theirs {
		owner.DB().MustExec(`do $$ begin create role ` + role + ` nologin;
			exception when duplicate_object or unique_violation then null; end $$`)
	}
	_, err := inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, inventory.CreateRoles(t.Context(), url))
	for _, role := range theirs {
		require.Nil(t, readString(t, owner, `select string_agg(c.oid::regclass::text, ', ') from pg_class c
			where c.relnamespace = 'rollcall'::regnamespace
			and (c.relkind in ('r', 'p') and not has_table_privilege($1, c.oid, 'select')
				or c.relkind = 'S' and not has_sequence_privilege($1, c.oid, 'select'))`, role), role)
		require.Equal(t, 1, count(t, owner, `select count(*) from pg_namespace where nspname = 'rollcall'
			and has_schema_privilege($1, oid, 'usage')`, role), role)
	}
}

// Who owns the tables need not be one who makes roles: these are there already when the grants are repeated.
func TestGrantsAreRepeatedWithoutTheRightToMakeRoles(t *testing.T) {
	t.Parallel()
	url := devtest.Database(t)
	owner := openStore(t, url)
	name := "owner_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	owner.DB().MustExec(`create role ` + name + ` nologin`)
	owner.DB().MustExec(`do $$ declare t record; begin
		for t in select oid::regclass as name, relkind from pg_class
			where relnamespace in ('public'::regnamespace, 'rollcall'::regnamespace) and relkind = 'r'
		loop execute format('alter table %s owner to ` + name + `', t.name); end loop;
		execute 'alter schema rollcall owner to ` + name + `'; end $$`)
	t.Cleanup(func() {
		owner.DB().MustExec(`reassign owned by ` + name + ` to current_user; drop owned by ` + name + `; drop role ` + name)
	})
	require.NoError(t, inventory.CreateRoles(t.Context(), devtest.As(t, url, name)))
}

// What no program writes, none of the roles may write.
func TestWhatNoRoleMayDo(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	never := map[string][]string{
		roles.Worker: {
			`update rollcall.roll set restore_id = ''`, `update rollcall.roll set org_id = gen_random_uuid()`,
			`update rollcall.roll set name = ''`, `update rollcall.roll set seq = 0`, `update rollcall.roll set held_back = 0`,
			`update rollcall.roll set report_credit = 5`, `update rollcall.restores set id = ''`,
			`update rollcall.restores set started_at = now()`, `update rollcall.restores set opened_by = ''`,
			`update rollcall.restores set mode = 'flightctl'`, `update rollcall.restores set org_id = null`,
			`update rollcall.plans set planned_by = ''`, `update rollcall.plans set restore_id = ''`,
			`insert into rollcall.plans (id) values ('')`, `update rollcall.plan_devices set name = ''`,
			`update rollcall.plan_devices set reported_version = '9'`, `update enrollment_requests set spec = '{}'`,
			`update enrollment_requests set labels = '{}'`, `insert into enrollment_requests (name) values ('')`,
			`update device_timestamps set name = ''`, `update events set message = ''`, `update fleets set spec = '{}'`,
			`insert into rollcall.revocations (kind) values ('')`, `update rollcall.renewals set certificate = ''`,
			`update rollcall.request_posts set held_back = 0`, `update organizations set display_name = ''`,
		},
		roles.Gateway: {
			`update devices set spec = '{}'`, `update devices set labels = '{}'`, `update devices set owner = null`,
			`update devices set name = ''`, `update devices set alias = ''`, `update devices set deleted_at = now()`,
			`insert into devices (name) values ('')`, `insert into device_labels (label_key) values ('')`,
			`delete from device_labels`, `update device_timestamps set name = ''`, `delete from device_timestamps`,
			`update rollcall.roll set state = 'Normal'`, `update rollcall.roll set reported_version = '0'`,
			`update rollcall.roll set restored_version = '9'`, `update rollcall.roll set superseded = true`,
			`update rollcall.roll set restore_id = ''`, `update rollcall.roll set resumed_by = 'mallory'`,
			`update rollcall.roll set batch = null`, `insert into rollcall.roll (name) values ('')`,
			`update rollcall.restores set state = 'Completed'`, `insert into rollcall.restores (id) values ('')`,
			`delete from rollcall.renewals`, `update rollcall.renewals set device = ''`,
			`update enrollment_requests set name = ''`, `delete from enrollment_requests`,
			`update rollcall.plans set state = 'Running'`, `update rollcall.plan_devices set answer = ''`,
			`insert into rollcall.decisions (id) values ('')`, `insert into rollcall.revocations (kind) values ('')`,
			`update fleets set spec = '{}'`, `update events set message = ''`, `insert into fleets (name) values ('')`,
		},
		roles.Operator: {
			`update devices set status = '{}'`, `delete from device_labels`, `update device_labels set device_name = ''`,
			`update device_timestamps set name = ''`, `update enrollment_requests set status = '{}'`,
			`update fleets set spec = '{}'`, `update rollcall.roll set noted_version = ''`,
			`insert into rollcall.roll (name) values ('')`, `update rollcall.restores set state = 'Completed'`,
			`insert into rollcall.restores (id) values ('')`, `insert into events (message) values ('')`,
			`insert into rollcall.decisions (id) values ('')`, `update rollcall.request_keys set key = ''`,
			`update rollcall.plans set state = 'Running'`, `insert into rollcall.renewals (device) values ('')`,
			`insert into rollcall.request_posts (name) values ('')`,
		},
		roles.Reader: {
			`update devices set status = '{}'`, `insert into devices (name) values ('')`,
			`update device_timestamps set last_seen = now()`, `insert into device_labels (label_key) values ('')`,
			`update enrollment_requests set status = '{}'`, `insert into fleets (name) values ('')`,
			`insert into events (message) values ('')`, `insert into organizations (id) values (gen_random_uuid())`,
			`update rollcall.roll set noted_version = ''`, `update rollcall.restores set state = 'Completed'`,
			`insert into rollcall.plans (id) values ('')`, `insert into rollcall.revocations (kind) values ('')`,
		},
	}
	for role, attacks := range never {
		store := openStore(t, devtest.As(t, database, role))
		for _, attack := range attacks {
			_, err := store.DB().Exec(attack)
			require.ErrorContains(t, err, "permission denied", "%s: %s", role, attack)
		}
	}
}

// A column that a later migration adds to the roll is to be decided on here, too: the worker writes it, or it says
// which row it is, or it is the gateway's.
func TestEachColumnOfTheRollHasItsGrants(t *testing.T) {
	t.Parallel()
	owner := openStore(t, devtest.Database(t))
	require.Equal(t, "held_back, last_seen_before, name, org_id, report_credit, report_credit_at, restore_id, seq",
		*readString(t, owner, `select string_agg(attname, ', ' order by attname) from pg_attribute
			where attrelid = 'rollcall.roll'::regclass and attnum > 0 and not attisdropped
			and not has_column_privilege('rollcall_worker', attrelid, attnum, 'update')`))
}
