package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/authority"
	"rollcall/runbook"
)

// keyOf is the key of a stored signing request; its zero value where there is none to be read.
func keyOf(csr string) runbook.Key {
	fingerprint, name, _ := authority.KeyOf(csr)
	return runbook.Key{Fingerprint: fingerprint, Name: name}
}

// knownKey are the columns of the fingerprint that is known under the name of a request r, and of whether it came with it.
const knownKey = `coalesce((select k.key from rollcall.request_keys k where k.org_id = r.org_id and k.name = r.name), '') as known_key,
  exists (select from rollcall.request_keys k where k.org_id = r.org_id and k.name = r.name and k.brought_at = r.created_at) as brought_key`

// keyStanding is how the key of a stored request stands: one that came with the request was not known before.
func keyStanding(name string, key runbook.Key, known string, brought bool) runbook.KeyStanding {
	standing := runbook.CompareKey(name, key, known)
	if standing == runbook.KeySame && brought {
		return runbook.KeyNew
	}
	return standing
}

// noteKey compares the key of a request that arrives with the one that is known under its name, and keeps the known one. A
// different key never becomes it, however often it is posted.
func (b requestBefore) noteKey(ctx context.Context, tx *sqlx.Tx, in ArriveInput, key runbook.Key) (runbook.KeyStanding, error) {
	kept, err := keptKey(ctx, tx, in.OrgID, in.Name)
	if err != nil {
		return "", err
	}
	known := b.knownKey(in.Name, kept)
	standing := runbook.CompareKey(in.Name, key, known)
	if standing.InBulk() {
		known = key.Fingerprint
	}
	if known == kept || known == "" {
		return standing, nil
	}
	return standing, keepKey(ctx, tx, in.OrgID, in.Name, known, standing == runbook.KeyNew)
}

// knownKey is the fingerprint that was known before: that of the request which was approved, here or in the backup, else the
// one that was kept, else that of the request as it was, deleted or not, unless its name or a human speaks against it.
func (b requestBefore) knownKey(name, kept string) string {
	was := keyOf(b.CSR)
	switch {
	case was.Fingerprint != "" && b.State == runbook.EnrollmentApproved:
		return was.Fingerprint
	case kept != "":
		return kept
	case b.State != runbook.EnrollmentDenied && runbook.CompareKey(name, was, "").InBulk():
		return was.Fingerprint
	}
	return ""
}

func keptKey(ctx context.Context, tx *sqlx.Tx, orgID, name string) (key string, err error) {
	err = tx.GetContext(ctx, &key, `select key from rollcall.request_keys where org_id = $1 and name = $2`, orgID, name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read the known key: %w", err)
	}
	return key, nil
}

// keepKey makes a key the known one; brought tells that it came with the request that is being stored.
func keepKey(ctx context.Context, tx *sqlx.Tx, orgID, name, key string, brought bool) error {
	_, err := tx.ExecContext(ctx, `
		insert into rollcall.request_keys as k (org_id, name, key, brought_at) values ($1, $2, $3, case when $4 then now() end)
		on conflict (org_id, name) do update set key = excluded.key, brought_at = excluded.brought_at where k.key <> excluded.key`,
		orgID, name, key, brought)
	if err != nil {
		return fmt.Errorf("keep the known key: %w", err)
	}
	return nil
}

// acceptKey makes the key of a request that is approved the known one, and says what was to be said against it.
func (e enrollment) acceptKey(ctx context.Context, tx *sqlx.Tx) (warning string, err error) {
	key := keyOf(e.CSR)
	kept, err := keptKey(ctx, tx, e.asked.OrgID, e.asked.Name)
	if err != nil || key.Fingerprint == "" {
		return "", err
	}
	if runbook.CompareKey(e.asked.Name, key, kept) == runbook.KeyDifferent {
		warning = "; its key (SHA-256 " + key.Fingerprint + ") is not the one known before"
	}
	return warning, keepKey(ctx, tx, e.asked.OrgID, e.asked.Name, key.Fingerprint, false)
}

// forgetKey makes the key of a request that is denied one that is not known, where this request brought it: nobody has ever
// let it in. A key that was known before stays what others are compared with.
func (e enrollment) forgetKey(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `
		delete from rollcall.request_keys k using enrollment_requests r
		where r.org_id = $1 and r.name = $2 and k.org_id = r.org_id and k.name = r.name and k.brought_at = r.created_at and k.key = $3`,
		e.asked.OrgID, e.asked.Name, keyOf(e.CSR).Fingerprint)
	if err != nil {
		return fmt.Errorf("forget the denied key: %w", err)
	}
	return nil
}
