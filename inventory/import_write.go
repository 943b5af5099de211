package inventory

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// importWriter collects resources and inserts them in batches.
type importWriter struct {
	tx      *sqlx.Tx
	opts    ImportOptions
	waiting map[string][]importRecord
	result  ImportResult
}

func (w *importWriter) put(ctx context.Context, record importRecord) error {
	w.waiting[record.kind] = append(w.waiting[record.kind], record)
	if len(w.waiting[record.kind]) < importBatch {
		return nil
	}
	return w.flush(ctx, record.kind)
}

// finish inserts what still waits. After many devices it has the planner count them: until autovacuum comes by, a query
// among 100,000 of which nothing is known takes many times as long.
func (w *importWriter) finish(ctx context.Context) (ImportResult, error) {
	for _, kind := range importKinds {
		if err := w.flush(ctx, kind); err != nil {
			return ImportResult{}, err
		}
	}
	if w.result.Devices >= importBatch {
		if _, err := w.tx.ExecContext(ctx, `analyze devices, device_timestamps`); err != nil {
			return ImportResult{}, fmt.Errorf("analyze the devices: %w", err)
		}
	}
	return w.result, nil
}

// flush inserts what waits of a kind.
func (w *importWriter) flush(ctx context.Context, kind string) error {
	records := w.waiting[kind]
	if len(records) == 0 {
		return nil
	}
	w.waiting[kind] = records[:0]
	if _, err := w.tx.ExecContext(ctx, `savepoint batch`); err != nil {
		return fmt.Errorf("set a savepoint: %w", err)
	}
	err := w.insert(ctx, kind, records)
	if refused := new(pq.Error); errors.As(err, &refused) {
		return w.blame(ctx, kind, records, err)
	}
	return err
}

// blame finds the resource for which the database refused a batch: what it does not take (a NUL in a text, a number
// beyond its range, whatever a trigger of Flight Control's minds) is for it alone to know.
func (w *importWriter) blame(ctx context.Context, kind string, records []importRecord, cause error) error {
	for _, record := range records {
		if _, err := w.tx.ExecContext(ctx, `rollback to savepoint batch`); err != nil {
			return cause
		}
		if err := w.insert(ctx, kind, []importRecord{record}); err != nil {
			return fmt.Errorf("%s: %w", record.where, err)
		}
	}
	return cause
}
