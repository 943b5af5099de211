package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"rollcall/inventory/fleetfile"
	"rollcall/inventory/pgdial"
	"rollcall/runbook"
)

// ImportOptions say where to and how to import.
type ImportOptions struct {
	// OrgID is the organisation's UUID; empty is the default organisation.
	OrgID string
	// CreateOrg is as Store.CreateOrg takes it: the organisation, which is made together with what is imported where it is
	// not there. OrgID is not read then.
	CreateOrg string
	// SkipExisting leaves a resource as it is that the organisation has already; without it that is an error.
	SkipExisting bool
}

// ImportResult is what an import has done.
type ImportResult struct {
	Devices            int `json:"devices"`
	Fleets             int `json:"fleets"`
	EnrollmentRequests int `json:"enrollmentRequests"`
	// Skipped is how many were there already.
	Skipped int `json:"skipped"`
	// Unsignable are the imported requests, not decided about, of which no certificate can ever be signed.
	Unsignable []UnsignableRequest `json:"unsignable,omitempty"`
}

// UnsignableRequest is an enrollment request of which no certificate can ever be signed.
type UnsignableRequest struct {
	Name string `json:"name"`
	runbook.Unsignable
}

// importBatch and importBytes are how many resources one statement inserts, and how large their specs and statuses may
// be together but for the last; they bound what is held twice, as read and as sent.
const (
	importBatch = 1000
	importBytes = 2 << 20
)

// Import reads devices, fleets and enrollment requests as `flightctl get … -o yaml` and `-o json` print them, and
// stores all of them or none: one at a time, in list kinds, in several YAML documents or in JSON values one after the
// other. Each field of spec and status is stored with the value that it has, every digit of it; a device's
// status.lastSeen goes to device_timestamps. An error names the document, the resource and the field, as in
//
//	document 3 (Device "web-7"): metadata.labels.site: must be a string, not a number
//
// Documents that hold nothing but comments are not counted. A stream without any resource or list is an error, and so
// is a resource that stands there twice, or that the organisation has already, deleted or not. An organisation that
// there is not is a *runbook.Refusal with CodeNotFound. While a restore of the organisation runs, a device that would
// have no place on its roll, and would not wait either, is a *runbook.Refusal with CodeRestoreRunning. Import ends soon
// after ctx, even while r gives nothing, and then stores nothing. It holds a batch of resources at a time, however
// large the file is.
func (s *Store) Import(ctx context.Context, r io.Reader, opts ImportOptions) (ImportResult, error) {
	if opts.OrgID == "" {
		opts.OrgID = runbook.DefaultOrgID
	}
	var result ImportResult
	err := s.inTxWithin(ctx, pgdial.Unlimited, func(tx *sqlx.Tx) (err error) {
		if opts.CreateOrg != "" {
			opts.OrgID, err = createOrg(ctx, tx, opts.CreateOrg)
		} else {
			err = organizationExists(ctx, tx, opts.OrgID)
		}
		if err != nil {
			return err
		}
		w := importWriter{tx: tx, opts: opts, waiting: map[string][]fleetfile.Record{}, size: map[string]int{}}
		documents, err := fleetfile.Decode(&interruptible{ctx: ctx, from: r},
			func(record fleetfile.Record) error { return w.put(ctx, record) })
		if err != nil {
			return err
		}
		if documents == 0 {
			return errors.New("there is nothing to import: the input holds no document")
		}
		result, err = w.finish(ctx)
		return err
	})
	if err != nil {
		return ImportResult{}, fmt.Errorf("import: %w", err)
	}
	return result, nil
}

// interruptible reads until its context ends, even while what it reads from gives nothing, as a pipe does whose writer
// waits.
type interruptible struct {
	ctx  context.Context
	from io.Reader
	buf  []byte
	rest []byte
	err  error
}

func (r *interruptible) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fill reads into a buffer of its own: where the context ends first, the read goes on, and p is not its any more.
func (r *interruptible) fill() error {
	if r.buf == nil {
		r.buf = make([]byte, 64<<10)
	}
	type read struct {
		n   int
		err error
	}
	filled := make(chan read, 1)
	go func() {
		n, err := r.from.Read(r.buf)
		filled <- read{n, err}
	}()
	select {
	case <-r.ctx.Done():
		r.err = r.ctx.Err() // the buffer stays with the read that goes on
		return r.err
	case got := <-filled:
		r.err = got.err
		if r.rest = r.buf[:got.n]; got.n > 0 {
			return nil
		}
		return r.err
	}
}

// importWriter collects resources and inserts them in batches.
type importWriter struct {
	tx      *sqlx.Tx
	opts    ImportOptions
	waiting map[string][]fleetfile.Record
	// size is how large the specs and statuses are that wait, by kind.
	size   map[string]int
	result ImportResult
	// served is the first inserted device that an agent could be served; empty where there is none.
	served string
}

func (w *importWriter) put(ctx context.Context, record fleetfile.Record) error {
	w.waiting[record.Kind] = append(w.waiting[record.Kind], record)
	w.size[record.Kind] += len(record.Spec) + len(record.Status)
	if len(w.waiting[record.Kind]) < importBatch && w.size[record.Kind] < importBytes {
		return nil
	}
	return w.flush(ctx, record.Kind)
}

// finish inserts what still waits. After many devices it has the planner count them: until autovacuum comes by, a query
// among 100,000 of which nothing is known takes many times as long.
func (w *importWriter) finish(ctx context.Context) (ImportResult, error) {
	for _, kind := range fleetfile.Kinds {
		if err := w.flush(ctx, kind); err != nil {
			return ImportResult{}, err
		}
	}
	if w.result.Devices >= importBatch {
		if _, err := w.tx.ExecContext(ctx, `analyze devices, device_timestamps`); err != nil {
			return ImportResult{}, fmt.Errorf("analyze the devices: %w", err)
		}
	}
	// A restore that opens from now on waits, and then finds the devices.
	if _, err := w.tx.ExecContext(ctx, `select pg_advisory_xact_lock_shared($1)`, restoreLock); err != nil {
		return ImportResult{}, fmt.Errorf("wait for a restore that opens: %w", err)
	}
	if err := w.passesNone(ctx); err != nil {
		return ImportResult{}, err
	}
	return w.result, nil
}

// flush inserts what waits of a kind.
func (w *importWriter) flush(ctx context.Context, kind string) error {
	records := w.waiting[kind]
	if len(records) == 0 {
		return nil
	}
	w.waiting[kind], w.size[kind] = nil, 0
	if _, err := w.tx.ExecContext(ctx, `savepoint batch`); err != nil {
		return fmt.Errorf("set a savepoint: %w", err)
	}
	err := w.insert(ctx, kind, records)
	if refused := new(pq.Error); errors.As(err, &refused) {
		return w.blame(ctx, kind, records, err)
	}
	if err != nil {
		return err
	}
	return w.passesNone(ctx) // a large file is refused early
}

// passesNone refuses the import where a restore of the organisation runs and an inserted device could be served. The
// roll of the restore may be made: the gateway would serve the device by the backup's version, and compare it with
// nothing.
func (w *importWriter) passesNone(ctx context.Context) error {
	if w.served == "" {
		return nil
	}
	var running []string
	err := w.tx.SelectContext(ctx, &running, `select id from rollcall.restores
		where state = $1 and (org_id is null or org_id = $2) order by started_at desc, id limit 1`,
		runbook.RestoreRunning, w.opts.OrgID)
	if err != nil {
		return fmt.Errorf("look for a restore that runs: %w", err)
	}
	if len(running) == 0 {
		return nil
	}
	return runbook.Refuse(runbook.CodeRestoreRunning,
		"restore %[1]s runs, and device %[2]q would not be on its roll: its agent would be served by the backup's version. "+
			"Stop the gateway, end the restore with `starter cancel %[1]s --reason REASON`, import, and start a restore of "+
			"another id before the gateway; one that is taken up again keeps its roll", running[0], w.served)
}

// blame finds the resource for which the database refused a batch: what it does not take (a NUL in a text, a number
// beyond its range, whatever a trigger of Flight Control's minds) is for it alone to know.
func (w *importWriter) blame(ctx context.Context, kind string, records []fleetfile.Record, cause error) error {
	for _, record := range records {
		if _, err := w.tx.ExecContext(ctx, `rollback to savepoint batch`); err != nil {
			return cause
		}
		if err := w.insert(ctx, kind, []fleetfile.Record{record}); err != nil {
			return fmt.Errorf("%s: %w", record.Where, err)
		}
	}
	return cause
}

// importTables are the tables of the kinds.
var importTables = map[string]string{
	KindDevice:            `devices`,
	KindFleet:             `fleets`,
	KindEnrollmentRequest: `enrollment_requests`,
}

// insertRecords inserts the resources of a JSON list, but for those that there are, and returns the names of the
// others, and of each whether an agent could be served it if it is a device. It takes the table, and an extra column
// with a comma before it.
const insertRecords = `
insert into %s (org_id, name, owner, labels, annotations, generation, resource_version, created_at, updated_at,
deleted_at,
    spec, status%s)
select $1::uuid, name, owner, labels, annotations, generation, resource_version, coalesce(created_at, now()), now(),
deleted_at,
    spec, status%[2]s
from json_to_recordset($2::json) as r(name text, owner text, labels jsonb, annotations jsonb, generation bigint,
    resource_version bigint, created_at timestamptz, deleted_at timestamptz, spec jsonb, status jsonb, alias text)
on conflict (org_id, name) do nothing
returning name, deleted_at is null and coalesce(status -> 'lifecycle' ->> 'status', '') <> all (cast($3 as text[]))
    and rollcall.device_state(annotations) = 'Normal' as served`

// insert inserts records of one kind. One that is there already is counted as skipped or is an error.
func (w *importWriter) insert(ctx context.Context, kind string, records []fleetfile.Record) error {
	text, err := json.Marshal(records)
	if err != nil {
		return fmt.Errorf("write the resources in JSON: %w", err)
	}
	extra := ""
	if kind == KindDevice {
		extra = ", alias"
	}
	var stored []struct {
		Name   string
		Served bool
	}
	query := fmt.Sprintf(insertRecords, importTables[kind], extra)
	if err := w.tx.SelectContext(ctx, &stored, query, w.opts.OrgID, string(text), ineligible); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	inserted := make([]string, 0, len(stored))
	for _, r := range stored {
		inserted = append(inserted, r.Name)
		if kind == KindDevice && r.Served && w.served == "" {
			w.served = r.Name
		}
	}
	if len(inserted) < len(records) && !w.opts.SkipExisting {
		return w.exists(records, inserted)
	}
	if kind == KindDevice {
		if err := w.insertLastSeen(ctx, records, inserted); err != nil {
			return err
		}
	}
	if kind == KindEnrollmentRequest {
		if err := w.flagUnsignable(ctx, inserted); err != nil {
			return err
		}
	}
	w.count(kind, len(inserted), len(records)-len(inserted))
	return nil
}

var selectToSign = `
select e.name, coalesce(e.spec ->> 'csr', '') as csr, ` + signingMode("e") + ` as mode
from enrollment_requests e
where e.org_id = $1 and e.name = any($2) and e.deleted_at is null and ` + requestState("e") + ` = 'Pending'
order by e.name`

// flagUnsignable notes which of the inserted requests can never be signed.
func (w *importWriter) flagUnsignable(ctx context.Context, inserted []string) error {
	var rows []struct {
		Name string
		CSR  string
		Mode runbook.Mode
	}
	if err := w.tx.SelectContext(ctx, &rows, selectToSign, w.opts.OrgID, pq.Array(inserted)); err != nil {
		return fmt.Errorf("read which enrollment requests can be signed: %w", err)
	}
	for _, r := range rows {
		if u := runbook.CheckSigning(r.Mode, r.Name, SigningRequest(r.CSR)); u != nil {
			w.result.Unsignable = append(w.result.Unsignable, UnsignableRequest{r.Name, *u})
		}
	}
	return nil
}

// exists names the first of records that was not inserted.
func (w *importWriter) exists(records []fleetfile.Record, inserted []string) error {
	slices.Sort(inserted)
	for _, r := range records {
		if _, found := slices.BinarySearch(inserted, r.Name); !found {
			return fmt.Errorf("%s: metadata.name: exists already in organisation %s", r.Where, runbook.OrgName(w.opts.OrgID))
		}
	}
	return errors.New("store: the database inserted less than it was given")
}

// insertLastSeen stores when the inserted devices were last seen. A trigger has made the rows already, or will not.
func (w *importWriter) insertLastSeen(ctx context.Context, records []fleetfile.Record, inserted []string) error {
	type lastSeen struct {
		Name     string     `json:"name"`
		LastSeen *time.Time `json:"last_seen"`
	}
	var seen []lastSeen
	for _, r := range records {
		if r.LastSeen != nil {
			seen = append(seen, lastSeen{r.Name, r.LastSeen})
		}
	}
	if len(seen) == 0 {
		return nil
	}
	text, err := json.Marshal(seen)
	if err != nil {
		return fmt.Errorf("write the resources in JSON: %w", err)
	}
	_, err = w.tx.ExecContext(ctx, `
insert into device_timestamps (org_id, name, last_seen)
select $1::uuid, name, last_seen from json_to_recordset($2::json) as r(name text, last_seen timestamptz)
where name = any($3::text[])
on conflict (org_id, name) do update set last_seen = excluded.last_seen`, w.opts.OrgID, string(text),
		pq.Array(inserted))
	if err != nil {
		return fmt.Errorf("store when devices were last seen: %w", err)
	}
	return nil
}

func (w *importWriter) count(kind string, inserted, skipped int) {
	switch kind {
	case KindDevice:
		w.result.Devices += inserted
	case KindFleet:
		w.result.Fleets += inserted
	case KindEnrollmentRequest:
		w.result.EnrollmentRequests += inserted
	}
	w.result.Skipped += skipped
}
