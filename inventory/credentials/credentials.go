// Package credentials stores which client certificates were revoked. A revocation is never changed: one that is taken
// back has a newer entry.
package credentials

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// Kind says what a revocation names.
type Kind string

// The kinds of a revocation.
const (
	Serial Kind = "serial" // one certificate, by its serial number
	Key    Kind = "key"    // all certificates of a key, by the key's fingerprint
)

// Revocation is an entry: certificates were revoked, or their revocation was taken back.
type Revocation struct {
	OrgID string `db:"org_id" json:"orgId"`
	Kind  Kind   `db:"kind" json:"kind"`
	// Value is a serial number as runbook.ParseSerial returns it, or a fingerprint as runbook.ParseFingerprint does.
	Value string `db:"value" json:"value"`
	// Revoked is false where the revocation was taken back.
	Revoked bool `db:"revoked" json:"revoked"`
	// By is who said so, and Login who was connected to the database.
	By     string    `db:"actor" json:"actor"`
	Login  string    `db:"login" json:"login,omitempty"`
	Reason string    `db:"reason" json:"reason,omitempty"`
	At     time.Time `db:"revoked_at" json:"at,omitzero"`
}

// Store adds an entry. changed is false, and nothing is stored, where the newest entry says the same already.
func Store(ctx context.Context, db sqlx.ExtContext, r Revocation) (changed bool, err error) {
	result, err := sqlx.NamedExecContext(ctx, db, `
		insert into rollcall.revocations (org_id, kind, value, revoked, actor, reason)
		select cast(:org_id as uuid), :kind, :value, :revoked, :actor, :reason
		where cast(:revoked as boolean) is distinct from coalesce((`+newest(":org_id", ":kind", ":value")+`), false)`, r)
	if err != nil {
		return false, fmt.Errorf("store the revocation of %s %s: %w", r.Kind, r.Value, err)
	}
	stored, err := result.RowsAffected()
	return stored > 0, err
}

// List returns what is revoked in an organisation, the newest first.
func List(ctx context.Context, db sqlx.QueryerContext, orgID string) ([]Revocation, error) {
	revoked := []Revocation{}
	err := sqlx.SelectContext(ctx, db, &revoked, `
		select * from (
			select distinct on (kind, value) org_id, kind, value, revoked, actor, login, reason, revoked_at
			from rollcall.revocations where org_id = $1 order by kind, value, id desc) r
		where r.revoked order by r.revoked_at desc, r.value`, orgID)
	if err != nil {
		return nil, fmt.Errorf("read what is revoked: %w", err)
	}
	return revoked, nil
}

// IsRevoked reports whether a certificate, or the key that it is of, was revoked.
func IsRevoked(ctx context.Context, db *sqlx.DB, orgID string, c runbook.Certificate) (revoked bool, err error) {
	if err := db.GetContext(ctx, &revoked, `select `+Revoked("$1", "$2", "$3"), orgID, c.Serial, c.Key); err != nil {
		return false, fmt.Errorf("read whether a certificate was revoked: %w", err)
	}
	return revoked, nil
}

// Revoked is the SQL expression of IsRevoked, of expressions for the organisation, the serial number and the key.
func Revoked(org, serial, key string) string {
	return `(coalesce((` + newest(org, "'serial'", serial) + `), false)
        or coalesce((` + newest(org, "'key'", key) + `), false))`
}

// Newest is an SQL expression for the number of the newest entry. While it is the same nothing has changed.
const Newest = `coalesce((select max(v.id) from rollcall.revocations v), 0)`

func newest(org, kind, value string) string {
	return `select v.revoked from rollcall.revocations v where v.org_id = cast(` + org + ` as uuid) and v.kind = ` + kind +
		` and v.value = cast(` + value + ` as text) order by v.id desc limit 1`
}
