package inventory_test

import (
	_ "embed"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

// flightctl makes the tables as Flight Control does, with more of everything than we know of.
//
//go:embed testdata/flightctl.sql
var flightctl string

// databases are the two kinds that a restore meets: our own, and one that Flight Control made.
var databases = map[string]func(t *testing.T) *inventory.Store{"own": newStore, "flightctl": newFlightctlStore}

func newStore(t *testing.T) *inventory.Store { return openStore(t, devtest.Database(t)) }

func newFlightctlStore(t *testing.T) *inventory.Store {
	url := devtest.EmptyDatabase(t)
	store := openStore(t, url)
	store.DB().MustExec(flightctl)
	_, err := inventory.Migrate(t.Context(), url)
	require.NoError(t, err)
	return store
}

func openStore(t *testing.T, url string) *inventory.Store {
	store, err := inventory.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// device is a row of the devices. Nil documents are NULL.
type device struct {
	OrgID           string     `db:"org_id"`
	Name            string     `db:"name"`
	Owner           *string    `db:"owner"`
	Annotations     *string    `db:"annotations"`
	Status          *string    `db:"status"`
	ResourceVersion *int64     `db:"resource_version"`
	DeletedAt       *time.Time `db:"deleted_at"`
	Generation      *int64     `db:"generation"`
}

func (d device) create(t require.TestingT, store *inventory.Store) device {
	if d.OrgID == "" {
		d.OrgID = runbook.DefaultOrgID
	}
	_, err := store.DB().NamedExec(`insert into devices (org_id, name, owner, annotations, status, resource_version,
		deleted_at, generation)
		values (:org_id, :name, :owner, :annotations, :status, :resource_version, :deleted_at, :generation)`, d)
	require.NoError(t, err)
	return d
}

// versioned is a device that runs a version, as far as the backup knows.
func versioned(name, version string) device {
	return device{
		Name: name,
		Annotations: ptr(fmt.Sprintf(`{"device-controller/renderedVersion": %q, "device-controller/renderedSpecHash": "abc"}`,
			version)),
		Status: ptr(`{"summary": {"status": "Online"}}`),
	}
}

func ptr[T any](v T) *T { return &v }

func readDevice(t require.TestingT, store *inventory.Store, orgID, name string) device {
	var d device
	require.NoError(t, store.DB().Get(&d, `select org_id, name, owner, annotations, status, resource_version, deleted_at
		from devices where org_id = $1 and name = $2`, orgID, name))
	return d
}

// count reads a number, such as that of the rows that match something.
func count(t require.TestingT, store *inventory.Store, query string, args ...any) (n int) {
	require.NoError(t, store.DB().Get(&n, query, args...))
	return n
}

func transitions(t require.TestingT, store *inventory.Store) int {
	return count(t, store, `select count(*) from rollcall.transitions`)
}

// openRestore opens a restore of all organisations, or of the one that it is given.
func openRestore(t *testing.T, store *inventory.Store, id string, orgID ...string) inventory.OpenRestoreResult {
	in := inventory.OpenRestoreInput{ID: id, By: "alice", Supersede: true}
	if len(orgID) > 0 {
		in.OrgID = orgID[0]
	}
	result, err := store.OpenRestore(t.Context(), in)
	require.NoError(t, err)
	return result
}

// putAll puts every eligible device on the roll, a few at a time.
func putAll(t *testing.T, store *inventory.Store, id string) int64 {
	in := inventory.RollInput{RestoreID: id, Limit: 7}
	for {
		r, err := store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		if r.Done {
			break
		}
		in = r.Next(in)
	}
	total, err := store.FinishRoll(t.Context(), id)
	require.NoError(t, err)
	return total
}

// restored is a store with a restore "r1" that has every given device on its roll.
func restored(t *testing.T, store *inventory.Store, devices ...device) *inventory.Store {
	for _, d := range devices {
		d.create(t, store)
	}
	openRestore(t, store, "r1")
	putAll(t, store, "r1")
	return store
}

func reconnectOf(name, version string) inventory.ReconnectInput {
	return inventory.ReconnectInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: name, Restored: "5", Reported: version,
		RequestID: uuid.NewString(),
	}
}

func resumeOf(name, by string) inventory.ResumeInput {
	return inventory.ResumeInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: name, By: by, Reason: "checked on site",
		RequestID: uuid.NewString(),
	}
}

func withdrawOf(name string, force bool) inventory.WithdrawInput {
	return inventory.WithdrawInput{
		RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: name, By: "alice", Reason: "scrapped", Force: force,
		RequestID: uuid.NewString(),
	}
}

func code(t inventory.Transitioned) runbook.Code {
	if t.Refusal == nil {
		return ""
	}
	return t.Refusal.Code
}

func refusal(t require.TestingT, err error) runbook.Code {
	r := runbook.AsRefusal(err)
	require.NotNil(t, r, "%v", err)
	return r.Code
}
