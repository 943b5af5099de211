// Package inspect looks at the database from the outside: what it is, what we may do there, and who else is connected.
package inspect

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Database is what a database is to us.
type Database struct {
	Version  string `db:"version"`
	Name     string `db:"name"`
	User     string `db:"role"`
	ReadOnly bool   `db:"read_only"`
	// SeesAddresses reports whether the addresses of other clients are shown to us.
	SeesAddresses bool `db:"sees_addresses"`
	// Acts is the role whose rights carry out a roll call: ours, or the worker's where ours is one of those that only show
	// or decide.
	Acts string `db:"acts"`
	// Missing are the privileges that a roll call needs and Acts lacks, such as "UPDATE on devices". A right to write some
	// columns is one to write.
	Missing pq.StringArray `db:"missing"`
	// Unread are the roles of those asked about that are there and cannot read all of the schema rollcall.
	Unread pq.StringArray `db:"unread"`
}

// Look reads what the database is. Tables that are not there are not missed: the check of the schema names them.
// Readers are the roles that have to be able to read all of the schema rollcall, where they are there.
func Look(ctx context.Context, db *sqlx.DB, readers []string) (Database, error) {
	var d Database
	err := db.GetContext(ctx, &d, `
with acting as (
	select case when exists (select from pg_roles where rolname = 'rollcall_worker' and not pg_has_role(oid, 'usage'))
			and exists (select from pg_roles
				where rolname in ('rollcall_reader', 'rollcall_operator') and pg_has_role(oid, 'usage'))
		then 'rollcall_worker' else current_user::text end as role
)
select current_setting('server_version') as version, current_database() as name, current_user::text as role,
	pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool as read_only,
	pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_addresses, acting.role as acts,
	coalesce((select array_agg(n.privilege || ' on ' || n.name order by n.name, n.privilege)
		from (values ('devices', 'SELECT'), ('devices', 'INSERT'), ('devices', 'UPDATE'), ('device_timestamps', 'SELECT'),
			('device_timestamps', 'UPDATE'), ('enrollment_requests', 'SELECT'), ('enrollment_requests', 'UPDATE'),
			('fleets', 'SELECT'), ('organizations', 'SELECT'), ('events', 'SELECT'), ('events', 'INSERT')) n(name, privilege)
		where to_regclass('public.' || n.name) is not null
			and not has_any_column_privilege(acting.role, 'public.' || n.name, n.privilege)), '{}') as missing,
	coalesce((select array_agg(r.rolname::text order by r.rolname) from pg_roles r
		where r.rolname = any ($1) and exists (
			select from pg_class c join pg_namespace s on s.oid = c.relnamespace and s.nspname = 'rollcall'
			where not has_schema_privilege(r.oid, s.oid, 'usage')
				or c.relkind in ('r', 'p') and not has_table_privilege(r.oid, c.oid, 'select')
				or c.relkind = 'S' and not has_sequence_privilege(r.oid, c.oid, 'select'))), '{}') as unread
from acting`, pq.StringArray(readers))
	if err != nil {
		return Database{}, fmt.Errorf("look at the database: %w", err)
	}
	return d, nil
}

// Organizations lists those that have devices, by id.
func Organizations(ctx context.Context, db *sqlx.DB) (ids []string, err error) {
	err = db.SelectContext(ctx, &ids, `
select cast(o.id as text) from organizations o
where exists (select from devices d where d.org_id = o.id and d.deleted_at is null)
order by o.id`)
	if err != nil {
		return nil, fmt.Errorf("list the organisations that have devices: %w", err)
	}
	return ids, nil
}

// Client is a kind of client that is connected to the database. Address is empty where it may not be seen, or is a
// socket of the machine.
type Client struct {
	Role        string `db:"role"`
	Application string `db:"application"`
	Address     string `db:"address"`
	Connections int    `db:"connections"`
}

// Clients lists those of this database, our own connections among them.
func Clients(ctx context.Context, db *sqlx.DB) ([]Client, error) {
	var all []Client
	err := db.SelectContext(ctx, &all, `
select coalesce(usename::text, '') as role, coalesce(application_name, '') as application,
	coalesce(host(client_addr), '') as address, count(*) as connections
from pg_stat_activity
where datname = current_database() and usename is not null
group by 1, 2, 3 order by 1, 2, 3`)
	if err != nil {
		return nil, fmt.Errorf("look who is connected to the database: %w", err)
	}
	return all, nil
}
