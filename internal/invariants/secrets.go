package invariants

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"google.golang.org/protobuf/proto"

	"rollcall/runbook"
)

// LeastSecret is how many bytes a secret has at least that is looked for. A shorter one may be an ordinary word, which
// stands in many places.
const LeastSecret = 12

// selectReadable lists the tables whose rows are looked at.
const selectReadable = `
select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and (n.nspname = 'rollcall' or n.nspname = 'public' and c.relname = 'events')
  and has_table_privilege(c.oid, 'select')
order by 1`

// Secret looks for secrets in the tables that people and scripts read, in what lists of workflows show of those that
// run, and in the histories of restores that run.
func (c Checker) Secret(ctx context.Context) ([]Violation, error) {
	secrets := slices.DeleteFunc(slices.Clone(c.Secrets), func(s string) bool { return len(s) < LeastSecret })
	if len(secrets) == 0 {
		return nil, nil
	}
	secrets = withEncoded(secrets)
	found, err := checkTables(ctx, c.DB, secrets)
	if err != nil || c.Temporal == nil {
		return found, err
	}
	shown, err := c.checkShown(ctx, secrets)
	return append(found, shown...), err
}

func checkTables(ctx context.Context, db *sqlx.DB, secrets []string) ([]Violation, error) {
	var tables []string
	if err := db.SelectContext(ctx, &tables, selectReadable); err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	var found []Violation
	for _, table := range tables {
		rows, err := rowsHolding(ctx, db, table, secrets)
		if err != nil {
			return found, fmt.Errorf("look for secrets in table %s: %w", table, err)
		}
		if rows > 0 {
			found = append(found, Violation{
				Invariant: NoSecret,
				Message:   fmt.Sprintf("%d rows of table %s hold the value of a secret setting: replace the secret", rows, table),
			})
		}
	}
	return found, nil
}

// rowsHolding counts the rows of a table that hold one of the secrets. The rows are read and searched here: a secret
// that is sent to the server stands in the server's log where that has statements.
func rowsHolding(ctx context.Context, db *sqlx.DB, table string, secrets []string) (held int64, err error) {
	rows, err := db.QueryContext(ctx, `select cast(t as text) from `+table+` t`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	inRow := append(slices.Clone(secrets), each(secrets, asInRow)...)
	for rows.Next() {
		var row sql.RawBytes
		if err := rows.Scan(&row); err != nil {
			return held, err
		}
		if holdsOne(row, inRow) {
			held++
		}
	}
	return held, rows.Err()
}

// asInRow is a text as PostgreSQL writes it in a row that it writes as text.
func asInRow(text string) string {
	return strings.NewReplacer(`"`, `""`, `\`, `\\`).Replace(text)
}

// inJSON are the ways in which a text may stand in JSON, without its quotes: Go's, which escapes what has a meaning in
// HTML, and that of most others, PostgreSQL among them.
func inJSON(text string) []string {
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	forHTML, err := json.Marshal(text)
	if err := errors.Join(err, encoder.Encode(text)); err != nil {
		return nil // a string is always encoded
	}
	other := strings.TrimSuffix(plain.String(), "\n")
	return []string{string(forHTML[1 : len(forHTML)-1]), other[1 : len(other)-1]}
}

// withEncoded are secrets with the forms in which they may stand in JSON.
func withEncoded(secrets []string) []string {
	all := slices.Clone(secrets)
	for _, secret := range secrets {
		all = append(all, inJSON(secret)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func each(texts []string, change func(string) string) []string {
	changed := make([]string, len(texts))
	for i, text := range texts {
		changed[i] = change(text)
	}
	return changed
}

// workflowTypes are those that Rollcall runs.
var workflowTypes = []string{
	runbook.RestoreWorkflowName, runbook.BatchWorkflowName, runbook.DeviceWorkflowName, runbook.EnrollmentWorkflowName,
	runbook.ResumeWorkflowName, runbook.DecisionWorkflowName,
}

func (c Checker) checkShown(ctx context.Context, secrets []string) ([]Violation, error) {
	var found []Violation
	for _, kind := range workflowTypes {
		err := c.eachRunning(ctx, kind, func(w *workflow.WorkflowExecutionInfo) error {
			held := heldBy(w.GetMemo().GetFields(), secrets) || heldBy(w.GetSearchAttributes().GetIndexedFields(), secrets)
			if !held && kind == runbook.RestoreWorkflowName {
				var err error
				if held, err = c.HistoryHolds(ctx, w.GetExecution(), secrets); err != nil {
					return err
				}
			}
			if held {
				found = append(found, Violation{
					Invariant: NoSecret, WorkflowID: w.GetExecution().GetWorkflowId(),
					Message: "the workflow shows the value of a secret setting: replace the secret",
				})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// HistoryHolds reports whether the history of a run holds one of the secrets.
func (c Checker) HistoryHolds(ctx context.Context, run *common.WorkflowExecution, secrets []string) (bool, error) {
	events := c.Temporal.GetWorkflowHistory(ctx, run.GetWorkflowId(), run.GetRunId(), false,
		enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return false, fmt.Errorf("read the history of %s: %w", run.GetWorkflowId(), err)
		}
		encoded, err := proto.Marshal(event)
		if err != nil {
			return false, fmt.Errorf("read the history of %s: %w", run.GetWorkflowId(), err)
		}
		if holdsOne(encoded, secrets) {
			return true, nil
		}
	}
	return false, nil
}

func heldBy(fields map[string]*common.Payload, secrets []string) bool {
	for _, payload := range fields {
		if holdsOne(payload.GetData(), secrets) {
			return true
		}
	}
	return false
}

func holdsOne(text []byte, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(s string) bool { return bytes.Contains(text, []byte(s)) })
}
