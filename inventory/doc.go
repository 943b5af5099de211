// Package inventory is PostgreSQL as Rollcall sees it: Flight Control's tables of devices, fleets, enrollment requests and
// events, which it shares, and the tables of the schema rollcall, which are its own: the restores, the roll with one row
// for each device that a restore waits for, and the append-only audit of transitions.
//
// Where to look: store.go opens it by dial.go, migrate.go makes what is missing, restores.go opens a restore, supersede.go says which it may
// take over from (T6), and close.go ends it; roll.go and requests.go put devices and requests on the roll (T1), in the SQL of
// roll_sql.go; reconnect.go, resume.go and withdraw.go carry out T2 to T5. These stand on change.go, which is a whole
// transition in one statement, on together.go, which lets transitions of the same moment share one, and on settle.go and
// position.go, which look at the locked rows where that one did not apply or would not do. record.go and refusal.go keep the
// audit, events.go tells Flight Control, tally.go and waiting.go count and list. Reading is query.go, with selectors.go and
// fieldselector*.go for what a person selects; standing.go says where devices stand, audit.go what was done to one; import*.go
// reads what Flight Control prints.
// watch.go finds what a live Flight Control has made of the devices that are waited for, and look.go has the roll follow it.
//
// Decisions are runbook's; the SQL here only carries them out, and carries out each one whole or not at all. A transition
// locks the device row first and its row on the roll second, in every path, so that none waits for another in a circle.
// It is refused when its restore no longer runs or when a newer restore has put the device on its own roll. An
// error that is a *runbook.Refusal is an answer; any other is a failure that is worth another try.
package inventory
