package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// organizationLock is the key of the advisory lock that keeps two from making an organisation of the same name.
const organizationLock = 0x726f6c6c0003

// ResolveOrg finds the id of an organisation by "default" (or nothing), its id, its external id or its display name, in
// this order. None is a *Refusal with CodeNotFound, and a display name of several one with CodeInvalidRequest.
func (s *Store) ResolveOrg(ctx context.Context, ref string) (string, error) {
	return resolveOrg(ctx, s.db, ref)
}

func resolveOrg(ctx context.Context, db sqlx.QueryerContext, ref string) (string, error) {
	if ref == "" || ref == runbook.DefaultOrg {
		ref = runbook.DefaultOrgID
	}
	if id, err := uuid.Parse(ref); err == nil {
		return id.String(), organizationExists(ctx, db, id.String())
	}
	for _, column := range []string{"external_id", "display_name"} {
		var ids []string
		err := sqlx.SelectContext(ctx, db, &ids, `select id from organizations where `+column+` = $1 order by id limit 2`, ref)
		if err != nil {
			return "", fmt.Errorf("read organisation %s: %w", ref, err)
		}
		if len(ids) > 1 {
			return "", runbook.Refuse(runbook.CodeInvalidRequest, "several organisations are called %q; name one by its id, such as %s", ref, strings.Join(ids, " or "))
		}
		if len(ids) == 1 {
			return ids[0], nil
		}
	}
	return "", unknownOrg(ref)
}

func organizationExists(ctx context.Context, db sqlx.QueryerContext, id string) error {
	var exists bool
	if err := sqlx.GetContext(ctx, db, &exists, `select exists (select from organizations where id = $1)`, id); err != nil {
		return fmt.Errorf("read organisation %s: %w", id, err)
	}
	if !exists {
		return unknownOrg(id)
	}
	return nil
}

func unknownOrg(ref string) *runbook.Refusal {
	return runbook.Refuse(runbook.CodeNotFound, "there is no organisation %q", ref)
}

// CreateOrg makes an organisation and returns its id; ref is the id that it shall have, or its display name. One that is
// there already is returned as it is.
func (s *Store) CreateOrg(ctx context.Context, ref string) (string, error) {
	var id string
	err := s.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock($1)`, organizationLock); err != nil {
			return fmt.Errorf("wait for another organisation that is made: %w", err)
		}
		if id, err = resolveOrg(ctx, tx, ref); err == nil {
			return nil
		}
		if refusal := runbook.AsRefusal(err); refusal == nil || refusal.Code != runbook.CodeNotFound {
			return err
		}
		name := ref
		if id == "" {
			id = uuid.NewString()
		}
		_, err = tx.ExecContext(ctx, `insert into organizations (id, external_id, display_name, created_at, updated_at) values ($1, '', $2, now(), now())`, id, name)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("create organisation %s: %w", ref, err)
	}
	return id, nil
}
