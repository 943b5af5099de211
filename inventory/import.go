package inventory

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// ImportOptions say where to and how to import.
type ImportOptions struct {
	// OrgID is the organisation's UUID; empty is the default organisation.
	OrgID string
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
}

// importBatch is how many resources one statement inserts; it bounds what is held twice, as read and as sent.
const importBatch = 1000

// Import reads devices, fleets and enrollment requests as `flightctl get … -o yaml` and `-o json` print them, and stores
// all of them or none: one at a time, in list kinds, in several YAML documents or in JSON values one after the other. Each
// field of spec and status is stored with the value that it has, every digit of it; a device's status.lastSeen goes to
// device_timestamps. An error names the document, the resource and the field, as in
//
//	document 3 (Device "web-7"): metadata.labels.site: must be a string, not a number
//
// Documents that hold nothing but comments are not counted. A stream without any resource or list is an error, and so is a
// resource that stands there twice, or that the organisation has already, deleted or not. An organisation that there is not
// is a *runbook.Refusal with CodeNotFound.
func (s *Store) Import(ctx context.Context, r io.Reader, opts ImportOptions) (ImportResult, error) {
	if opts.OrgID == "" {
		opts.OrgID = runbook.DefaultOrgID
	}
	var result ImportResult
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := organizationExists(ctx, tx, opts.OrgID); err != nil {
			return err
		}
		w := importWriter{tx: tx, opts: opts, waiting: map[string][]importRecord{}}
		documents, err := decodeStream(r, func(record importRecord) error { return w.put(ctx, record) })
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
