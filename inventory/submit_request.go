package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/inventory/posts"
	"rollcall/runbook"
)

// SubmitRequestInput is an enrollment request as an agent brings it.
type SubmitRequestInput struct {
	OrgID string
	Name  string
	// Labels are the request's own. Annotations are the service's, and none come from an agent.
	Labels map[string]string
	// Spec is a JSON object, and CSR and Known what it holds as csr and knownRenderedVersion.
	Spec  json.RawMessage
	CSR   string
	Known string
	// MaxPending is how many requests may be pending that agents have posted; 0 is no limit.
	MaxPending int
}

// ErrTooManyPending is the error of SubmitRequest where MaxPending requests are pending. Nothing is stored.
var ErrTooManyPending = posts.ErrFull

// SubmitRequestResult says what became of it.
type SubmitRequestResult struct {
	Request AgentRequest
	// Arrival is empty where it was refused.
	Arrival runbook.Submission
	Refusal *runbook.Refusal
	// Key is how its key compares with what is known of its name; empty where it was refused.
	Key runbook.KeyMatch
}

// A request of the agent's own time: when it was made says whether it can have been in a backup.
const insertRequest = `
insert into enrollment_requests (org_id, name, labels, generation, resource_version, created_at, updated_at, spec,
status)
values ($1, $2, cast($3 as jsonb), 1, 1, now(), now(), cast($4 as jsonb), '{"conditions": []}')
on conflict do nothing`

// renewRequest makes a pending request of one that is over. Nothing of that one stays, but that versions count on.
const renewRequest = `
update enrollment_requests e set
    owner = null, labels = cast($3 as jsonb), annotations = null, spec = cast($4 as jsonb),
    status = '{"conditions": []}',
    generation = 1, resource_version = coalesce(e.resource_version, 0) + 1, created_at = now(), updated_at = now(),
    deleted_at = null
where e.org_id = $1 and e.name = $2`

// repeatRequest takes over what a pending request says of itself now. What the service has put on it stays, above all
// that a restore has found it in the backup. So do its version where $4 says so, and what of it goes to the device
// where it has the same key, which $5 says: anyone with the shared bootstrap certificate can read a request and post it
// again.
const repeatRequest = `
with said as (
    select cast($3 as jsonb) - case when $5 then cast('{labels,osMode}' as text[]) else '{}' end
        || case when $4 then jsonb_build_object('knownRenderedVersion', e.spec -> 'knownRenderedVersion') else '{}' end
        || case when $5 and e.spec ? 'labels' then jsonb_build_object('labels', e.spec -> 'labels') else '{}' end
        || case when $5 and e.spec ? 'osMode' then jsonb_build_object('osMode', e.spec -> 'osMode') else '{}' end
        as spec
    from enrollment_requests e where e.org_id = $1 and e.name = $2)
update enrollment_requests e set
    spec = said.spec, generation = coalesce(e.generation, 0) + 1,
    resource_version = coalesce(e.resource_version, 0) + 1, updated_at = now()
from said where e.org_id = $1 and e.name = $2 and e.spec is distinct from said.spec`

// SubmitRequest stores an enrollment request that an agent brings, if runbook.DecideSubmission says that it counts,
// and writes an event where it says something new. Repeated it changes nothing. Nothing is stored of a refused one,
// and the result holds the refusal. A text that PostgreSQL cannot hold is a *Refusal with CodeInvalidRequest as error.
func (s *Store) SubmitRequest(ctx context.Context, in SubmitRequestInput) (SubmitRequestResult, error) {
	var a SubmitRequestResult
	err := s.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		a, err = submitRequest(ctx, tx, in)
		return err
	})
	switch {
	case unstorable(err):
		return SubmitRequestResult{}, runbook.Refuse(runbook.CodeInvalidRequest, "the request cannot be stored: %v", err)
	case err != nil:
		return SubmitRequestResult{}, fmt.Errorf("store enrollment request %s: %w", in.Name, err)
	}
	return a, nil
}

func submitRequest(ctx context.Context, tx *sqlx.Tx, in SubmitRequestInput) (SubmitRequestResult, error) {
	made, err := changed(tx.ExecContext(ctx, insertRequest, in.OrgID, in.Name, marshalStrings(orEmpty(in.Labels)),
		string(in.Spec)))
	if err != nil {
		return SubmitRequestResult{}, err
	}
	var before requestBefore
	if !made {
		if before, err = lockBefore(ctx, tx, in); err != nil {
			return SubmitRequestResult{}, err
		}
	}
	var a SubmitRequestResult
	a.Arrival, err = runbook.DecideSubmission(before.stands(), in.Name)
	if err == nil && a.Arrival == runbook.SubmissionAgain {
		err = runbook.MayReplaceKey(in.Name, keyOf(before.CSR), keyOf(in.CSR))
	}
	if a.Refusal = runbook.AsRefusal(err); a.Refusal == nil {
		if a.Key, err = before.follow(ctx, tx, in, a.Arrival, made); err != nil {
			return SubmitRequestResult{}, err
		}
	}
	a.Request, _, err = readAgentRequest(ctx, tx, in.OrgID, in.Name)
	return a, err
}

// changed reports whether a statement has changed a row.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// requestBefore is the request of that name as it was, its row locked.
type requestBefore struct {
	Found        bool
	Deleted      bool                    `db:"deleted"`
	State        runbook.EnrollmentState `db:"state"`
	CSR          string                  `db:"csr"`
	Known        string                  `db:"known"`
	DecidedBy    string                  `db:"decided_by"`
	DeviceExists bool                    `db:"device_exists"`
	// OtherLabels and OtherMode report whether what arrives brings labels and an OS mode that are not the request's.
	OtherLabels bool `db:"other_labels"`
	OtherMode   bool `db:"other_mode"`
}

// The row is locked first and read after: a statement that waits for a lock sees the row as it has become, and all
// else as it was before, so that an approval which it has waited for would seem to have no device.
const lockRequestBefore = `select from enrollment_requests where org_id = $1 and name = $2 for update`

var readRequestBefore = `
select ` + requestState("e") + ` as state, e.deleted_at is not null as deleted, coalesce(e.spec ->> 'csr', '') as csr,
    coalesce(e.spec ->> 'knownRenderedVersion', '') as known, coalesce(e.status #>> '{approval,approvedBy}',
    '') as decided_by,
    exists (select from devices d where d.org_id = e.org_id and d.name = e.name
    and d.deleted_at is null) as device_exists,
    coalesce(nullif(p.spec -> 'labels', 'null') <> coalesce(nullif(e.spec -> 'labels', 'null'), '{}'),
    false) as other_labels,
    coalesce(p.spec ->> 'osMode' <> coalesce(e.spec ->> 'osMode', ''), false) as other_mode
from enrollment_requests e, (select cast($3 as jsonb) as spec) p where e.org_id = $1 and e.name = $2`

func lockBefore(ctx context.Context, tx *sqlx.Tx, in SubmitRequestInput) (requestBefore, error) {
	b := requestBefore{Found: true}
	if _, err := tx.ExecContext(ctx, lockRequestBefore, in.OrgID, in.Name); err != nil {
		return b, fmt.Errorf("lock the request: %w", err)
	}
	err := tx.GetContext(ctx, &b, readRequestBefore, in.OrgID, in.Name, string(in.Spec))
	if errors.Is(err, sql.ErrNoRows) {
		return b, errors.New("the request has just been deleted") // which the agent's next attempt finds
	}
	if err != nil {
		return b, fmt.Errorf("read the request: %w", err)
	}
	return b, nil
}

func (b requestBefore) stands() runbook.Enrollment {
	return runbook.Enrollment{
		Exists: b.Found && !b.Deleted, DeviceExists: b.DeviceExists, State: b.State,
		DecidedBy: b.DecidedBy,
	}
}

// follow writes what arrives over the request that was there before, notes its key, and tells of what is new.
func (b requestBefore) follow(
	ctx context.Context, tx *sqlx.Tx, in SubmitRequestInput, arrival runbook.Submission, made bool,
) (runbook.KeyMatch, error) {
	var err error
	if arrival == runbook.SubmissionNew {
		if err := posts.Admit(ctx, tx, in.OrgID, in.Name, in.MaxPending); err != nil {
			return "", err
		}
	}
	switch {
	case made:
	case arrival == runbook.SubmissionNew:
		_, err = tx.ExecContext(ctx, renewRequest, in.OrgID, in.Name, marshalStrings(orEmpty(in.Labels)), string(in.Spec))
	default:
		stays := runbook.KnownStays(b.Known, in.Known)
		if stays {
			in.Known = b.Known
		}
		sameKey := keyOf(b.CSR).Fingerprint == keyOf(in.CSR).Fingerprint
		_, err = tx.ExecContext(ctx, repeatRequest, in.OrgID, in.Name, string(in.Spec), stays, sameKey)
	}
	if err != nil {
		return "", fmt.Errorf("write the request: %w", err)
	}
	key := keyOf(in.CSR)
	standing, err := b.noteKey(ctx, tx, in, key)
	if err != nil {
		return "", err
	}
	return standing, b.tell(ctx, tx, in, arrival, b.news(in, arrival, key, standing))
}

// tell writes the event of an arrival. A request that changes with each attempt writes a few a minute.
func (b requestBefore) tell(
	ctx context.Context, tx *sqlx.Tx, in SubmitRequestInput, arrival runbook.Submission, news *notice,
) error {
	if arrival == runbook.SubmissionAgain {
		may, heldBack, err := posts.MayTell(ctx, tx, in.OrgID, in.Name, news != nil)
		if err != nil || !may {
			return err
		}
		if heldBack > 0 {
			news.Message += fmt.Sprintf("; %d changes before it were not written", heldBack)
		}
	}
	if news == nil {
		return nil
	}
	return news.write(ctx, tx)
}

// saidVersion is a version as an agent says it, quoted and cut where it is not one.
func saidVersion(version string) string {
	if _, err := runbook.ParseVersion(version); err != nil {
		return fmt.Sprintf("%.60q", version)
	}
	return version
}

// brings names what an arrival with the request's key brings that stays as it was; empty where there is none.
func (b requestBefore) brings() string {
	switch {
	case b.OtherLabels && b.OtherMode:
		return "other labels and another OS mode"
	case b.OtherLabels:
		return "other labels"
	case b.OtherMode:
		return "another OS mode"
	}
	return ""
}

// news is the event of an arrival; nil where it says nothing that counts. A status that changes at each attempt does
// not.
func (b requestBefore) news(
	in SubmitRequestInput, arrival runbook.Submission, key runbook.Key, standing runbook.KeyMatch,
) *notice {
	n := &notice{OrgID: in.OrgID, Kind: KindEnrollmentRequest, Name: in.Name, Actor: ActorService, Type: eventNormal}
	other := b.brings()
	switch {
	case arrival == runbook.SubmissionAgain && keyOf(b.CSR).Fingerprint != key.Fingerprint:
		n.Reason, n.Message = runbook.ReasonResourceUpdated, "Enrollment requested again with another key"
	case arrival == runbook.SubmissionAgain && other != "":
		n.Type, n.Reason = eventWarning, runbook.ReasonResourceUpdated
		n.Message = "Enrollment requested again with " + other +
			", which do not count: those of the first post with its key stay"
	case arrival == runbook.SubmissionAgain && b.Known != in.Known:
		n.Reason, n.Message = runbook.ReasonResourceUpdated, "Enrollment requested again"
	case arrival == runbook.SubmissionAgain:
		return nil
	case b.Found && !b.Deleted:
		n.Reason, n.Message = runbook.ReasonResourceCreated,
			"Enrollment requested again, as the device approved before is gone"
	default:
		n.Reason, n.Message = runbook.ReasonResourceCreated, "Enrollment requested"
	}
	if in.Known != "" {
		n.Message += "; the device runs version " + saidVersion(in.Known)
	}
	if warning := runbook.KeyWarning(standing); warning != "" {
		n.Type = eventWarning
		n.Message += fmt.Sprintf("; its key (SHA-256 %s) is %s: %s", key.Fingerprint, standing, warning)
	}
	return n
}
