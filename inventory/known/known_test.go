package known_test

import (
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory/known"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

const org = runbook.DefaultOrgID

// entry is the beginning of an entry of the audit.
const entry = `insert into rollcall.transitions (restore_id, org_id, name, at, transition, from_state, to_state, signal,
	code, request_id) values ('r1', '` + org + `', `

func open(t *testing.T) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open("postgres", devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.MustExec(`insert into rollcall.restores (id, state, started_at) values ('r1', 'Running', '2026-11-30 10:00Z')`)
	return db
}

func TestHowOftenADeviceHasLeft(t *testing.T) {
	t.Parallel()
	db := open(t)
	for _, values := range []string{
		`'a', now(), 'T2', 'AwaitingReconnect', 'Normal', 'reconnect', '', 'signal/1')`,
		`'a', now(), 'Refused', '', '', 'resumed', 'Lost', 'lost/run')`,
		// What names a decision about the request of that name, or a report, is no end.
		`'a', now(), 'Refused', '', '', 'deny', 'Lost', 'lost/denied')`,
		`'a', now(), 'Refused', '', '', 'reconnect', 'Lost', 'lost/run/7')`,
		`'', now(), 'Refused', '', '', 'restore', 'Lost', 'lost/restore')`,
		`'b', now(), 'T3', 'AwaitingReconnect', 'ConflictPaused', 'reconnect', '', 'signal/2')`,
	} {
		db.MustExec(entry + values)
	}
	ends, err := known.EndsOf(t.Context(), db, "r1")
	require.NoError(t, err)
	require.Equal(t, map[known.Device]int{{OrgID: org, Name: "a"}: 2}, ends)
	n, err := known.Ends(t.Context(), db, "r1")
	require.NoError(t, err)
	require.EqualValues(t, 1, n, "none on the roll has left, and one loss is named")
}

func TestWhetherTheDatabaseKnowsAnEnd(t *testing.T) {
	t.Parallel()
	db := open(t)
	at := time.Date(2026, 11, 30, 11, 0, 0, 123_456_000, time.FixedZone("", 3600))
	db.MustExec(entry+`'a', $1, 'T2', 'AwaitingReconnect', 'Normal', 'reconnect', '', 'signal/1')`, at)
	device := known.Device{OrgID: org, Name: "a"}
	for name, tc := range map[string]struct {
		state runbook.State
		at    time.Time
		known bool
	}{
		"it":             {runbook.StateNormal, at.UTC(), true},
		"another state":  {runbook.StateWithdrawn, at, false},
		"a moment later": {runbook.StateNormal, at.Add(time.Microsecond), false},
	} {
		stand, err := known.Of(t.Context(), db, "r1", device, tc.state, tc.at)
		require.NoError(t, err)
		require.Equal(t, known.Stand{Known: tc.known}, stand, name)
	}
}

func TestWhichDecisionsTheDatabaseDoesNotKnow(t *testing.T) {
	t.Parallel()
	db := open(t)
	at := time.Date(2026, 11, 30, 11, 0, 0, 0, time.UTC)
	db.MustExec(entry+`'there', $1, 'Denied', '', '', 'deny', '', 'update/1')`, at)
	db.MustExec(entry + `'named', now(), 'Refused', '', '', 'deny', 'Lost', 'lost/run-of-named')`)
	before := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	var taken []known.Decision
	for name, when := range map[string]*time.Time{
		"there": &at, "named": &at, "lost": &at, "before the restore": &before, "at an unknown time": nil,
	} {
		taken = append(taken, known.Decision{
			Device: known.Device{OrgID: org, Name: name}, RunID: "run-of-" + name,
			Taken: runbook.EnrollmentDecision{Name: name, At: when},
		})
	}
	unknown := func() (names []string) {
		lost, err := known.Without(t.Context(), db, "r1", taken)
		require.NoError(t, err)
		for _, d := range lost {
			names = append(names, d.Name)
		}
		return names
	}
	require.Equal(t, []string{"lost"}, unknown())
	db.MustExec(`update rollcall.restores set org_id = gen_random_uuid()`)
	require.Empty(t, unknown(), "it is another organisation's")
	since, err := known.Since(t.Context(), db, "r2")
	require.NoError(t, err)
	require.True(t, since.IsZero())
}
