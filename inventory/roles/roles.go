// Package roles says what each of Rollcall's programs may do in the database.
package roles

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// The roles that Create makes. None can log in by itself: a person or a program gets a login that is a member of one.
const (
	// Worker carries out transitions: it writes devices, rolls and the audit.
	Worker = "rollcall_worker"
	// Gateway stores what agents say, and renders.
	Gateway = "rollcall_gateway"
	// Reader is for `starter` where it only shows: status, get, describe.
	Reader = "rollcall_reader"
	// Operator is for `starter` where it decides and imports. Decisions themselves go through Temporal.
	Operator = "rollcall_operator"
)

// All are the roles in the order in which they are told.
var All = []string{Worker, Gateway, Reader, Operator}

// tables are those that each role may read.
const tables = "organizations, devices, device_timestamps, device_labels, enrollment_requests, fleets, events, " +
	"rollcall.restores, rollcall.roll, rollcall.transitions, rollcall.request_keys, " +
	"rollcall.renewals, rollcall.request_posts, rollcall.revocations, rollcall.decisions, rollcall.decision_targets, " +
	"rollcall.plans, rollcall.plan_devices, rollcall.goose_db_version"

// grant is what a role may do with a table beside reading.
type grant struct{ role, rights, table string }

// grants are as few as each program works with. An update is of the columns that the program writes, so that no role
// can give a place on a roll, a restore or a plan another name. The audit, rollcall.transitions, is appended to and
// never changed. The triggers on devices write device_timestamps and device_labels with the rights of whoever writes
// the device; Flight Control's own insert a label or, where it is there, update it, which needs both rights even for a
// new one. The gateway changes no label.
var grants = []grant{
	// A device that is approved takes the place of a deleted one whole, whichever columns Flight Control's table has.
	{Worker, "insert, update", "devices"},
	{Worker, "insert, update (last_seen)", "device_timestamps"},
	{Worker, "insert, update (label_value), delete", "device_labels"},
	{Worker, "update (annotations, status, resource_version, updated_at)", "enrollment_requests"},
	{Worker, "insert", "events"},
	{Worker, "insert, update (state, by_wave, claim_from, rolled_at, total, finished_at, closed_by, reason, " +
		"superseded_by)", "rollcall.restores"},
	{Worker, "insert, update (state, since, fleet, restored_version, reported_version, next_version, superseded, " +
		"resumed_by, resumed_reason, resumed_at, noted_version, batch, wave, carried_version, decided_version, " +
		"rendered_before, sent_at, sent_id, seen_version, restored_generation, repairs, " +
		"status_version, status_at)", "rollcall.roll"},
	{Worker, "insert", "rollcall.transitions"},
	{Worker, "insert", "rollcall.decisions"},
	{Worker, "insert", "rollcall.decision_targets"},
	{Worker, "insert, update (key, brought_at), delete", "rollcall.request_keys"},
	{
		Worker, "update (state, decided_by, reason, waves, waves_asked, decided_identity, decided_at, ended_by, " +
			"ended_reason, ended_at)",
		"rollcall.plans",
	},
	{Worker, "update (wave, answer, next_version, code, message, answered_at)", "rollcall.plan_devices"},
	{Worker, "usage", "sequence rollcall.transitions_id_seq"},

	{Gateway, "update (annotations, status, render_timestamp, resource_version, updated_at)", "devices"},
	{Gateway, "insert, update (last_seen)", "device_timestamps"},
	{Gateway, "insert, update (owner, labels, annotations, spec, status, generation, resource_version, created_at, " +
		"updated_at, deleted_at)", "enrollment_requests"},
	{Gateway, "insert", "events"},
	{
		Gateway, "update (noted_version, report_credit, report_credit_at, held_back, status_version, status_at)",
		"rollcall.roll",
	},
	{Gateway, "insert, update (key, brought_at), delete", "rollcall.request_keys"},
	{Gateway, "insert, update (name, request, spec, certificate, created_at)", "rollcall.renewals"},
	{Gateway, "insert, update (posted_at, expires, told_since, told, held_back), delete", "rollcall.request_posts"},

	{Operator, "insert", "rollcall.revocations"},
	{Operator, "usage", "sequence rollcall.revocations_id_seq"},
	// Who has started a plan, and what its devices have answered, is the worker's to say.
	{Operator, "insert (id, org_id, restore_id, planned_by, reason, expires_at, decision_id)", "rollcall.plans"},
	{Operator, "insert (plan_id, org_id, name, seq, reported_version)", "rollcall.plan_devices"},
	{Operator, "insert", "organizations"},
	{Operator, "insert", "devices"},
	{Operator, "insert, update (last_seen)", "device_timestamps"},
	{Operator, "insert, update (label_value)", "device_labels"},
	{Operator, "insert", "enrollment_requests"},
	{Operator, "insert", "fleets"},
}

// Create creates the roles that the server does not have yet, and gives each exactly its rights in this database, in
// one transaction. Whoever calls it must own the schema rollcall, and may grant on Flight Control's tables.
func Create(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing is left to undo after the commit
	for _, statement := range statements() {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", strings.SplitN(strings.TrimSpace(statement), "\n", 2)[0], err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// create makes a role where it is missing, so that who may not make any can repeat the grants; another database of the
// same server may make it in the same moment.
const create = `do $$ begin if not exists (select from pg_roles where rolname = '%[1]s') then create role %[1]s nologin;
	end if; exception when duplicate_object or unique_violation then null; end $$`

func statements() []string {
	var all []string
	for _, role := range All {
		all = append(all, fmt.Sprintf(create, role))
	}
	everybody := strings.Join(All, ", ")
	all = append(
		all,
		"revoke all on all tables in schema rollcall from "+everybody,
		"revoke all on all sequences in schema rollcall from "+everybody,
		"revoke all on "+tables+" from "+everybody,
		"grant usage on schema rollcall to "+everybody,
		"grant select on "+tables+" to "+everybody,
	)
	for _, g := range grants {
		all = append(all, fmt.Sprintf("grant %s on %s to %s", g.rights, g.table, g.role))
	}
	return all
}

// backups are the roles that may dump the whole database: flightctl-backup does as the first, and an administrator's
// own backup as the owner of Flight Control's tables.
var backups = []string{"flightctl_app", "flightctl_migrator"}

// letRead lets a role that is there read all of the schema rollcall. Default privileges would only count for one owner.
const letRead = `do $$ begin if exists (select from pg_roles where rolname = '%[1]s') then
	grant usage on schema rollcall to %[1]s;
	grant select on all tables in schema rollcall to %[1]s;
	grant select on all sequences in schema rollcall to %[1]s;
	end if; end $$`

// LetBackupRead lets Flight Control's backup read the schema rollcall. Its dump of the database fails at the first
// table that it may not read, so that there would be no backup any more. It is repeated after each migration.
func LetBackupRead(ctx context.Context, db *sql.DB) error {
	for _, role := range backups {
		if _, err := db.ExecContext(ctx, fmt.Sprintf(letRead, role)); err != nil {
			return fmt.Errorf("let %s read the schema rollcall: %w", role, err)
		}
	}
	return nil
}
