package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// Types of events, Flight Control's words.
const (
	eventNormal  = "Normal"
	eventWarning = "Warning"
)

// notice is an event as it is written.
type notice struct {
	OrgID   string `db:"org_id"`
	Kind    string `db:"kind"`
	Name    string `db:"name"`
	Reason  string `db:"reason"`
	Type    string `db:"type"`
	Actor   string `db:"actor"`
	Message string `db:"message"`
}

// Details stay NULL: Flight Control decodes them by a list of types that is its own.
const insertEvent = `
insert into events (org_id, name, resource_version, created_at, updated_at, reason, source_component, actor, type, message,
    involved_object_kind, involved_object_name)
values (:org_id, cast(gen_random_uuid() as text), 1, now(), now(), :reason, 'rollcall', :actor, :type, :message, :kind, :name)`

func (n notice) write(ctx context.Context, tx *sqlx.Tx) error {
	if _, err := tx.NamedExecContext(ctx, insertEvent, n); err != nil {
		return fmt.Errorf("write event %s: %w", n.Reason, err)
	}
	return nil
}

// withEvent makes c tell of itself in an event of the device.
func (c change) withEvent(reason, kind, message string) change {
	c.EventReason, c.EventType, c.EventMessage, c.EventActor = reason, kind, message, eventActor(c.Actor)
	return c
}

// eventActor writes who did something as events do: a name without a prefix is a user.
func eventActor(by string) string {
	if by == "" {
		return ActorService
	}
	if strings.HasPrefix(by, "user:") || strings.HasPrefix(by, "service:") {
		return by
	}
	return "user:" + by
}

// restored is the event that a restore has put every device on the roll.
func restoredEvent(orgID, restoreID, by string, total int64) notice {
	if orgID == "" {
		orgID = runbook.DefaultOrgID
	}
	return notice{
		OrgID: orgID, Kind: "System", Name: "database", Reason: runbook.ReasonSystemRestored, Type: eventNormal, Actor: eventActor(by),
		Message: fmt.Sprintf("Restore %s: %d devices await their reconnect", restoreID, total),
	}
}
