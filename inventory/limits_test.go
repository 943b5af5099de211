package inventory_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

func with(database, parameters string) string {
	if strings.Contains(database, "?") {
		return database + "&" + parameters
	}
	return database + "?" + parameters
}

func TestSessionsHaveLimits(t *testing.T) {
	t.Parallel()
	database := devtest.Database(t)
	for url, want := range map[string]map[string]string{
		database: {
			"idle_in_transaction_session_timeout": "10s", "lock_timeout": "5s", "tcp_user_timeout": "25000",
			"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
		},
		with(database, "lock_timeout=7s"): {
			"lock_timeout": "7s", "idle_in_transaction_session_timeout": "10s",
		},
		with(database, "options=-c%20idle_in_transaction_session_timeout%3D3s"): {
			"idle_in_transaction_session_timeout": "3s",
		},
	} {
		store := openStore(t, url)
		for setting, value := range want {
			require.Equal(t, value, *readString(t, store, "show "+setting), setting)
		}
	}
}

// A host that loses its power says nothing. Its transaction must not hold the device for longer than the limit.
func TestALostHostLosesItsLocks(t *testing.T) {
	t.Parallel()
	url := devtest.Database(t)
	proxy, through := devtest.NewProxy(t, url)
	lost, other := openStore(t, with(through, "idle_in_transaction_session_timeout=300")), openStore(t, url)
	full().create(t, other)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	tx, err := lost.DB().BeginTxx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.Exec(`update devices set generation = 99`)
	require.NoError(t, err)
	proxy.Freeze()
	_, err = other.DB().ExecContext(ctx, `update devices set generation = 7`)
	require.NoError(t, err, "the lock is given up before the lock_timeout of another")

	proxy.Thaw()
	_, err = tx.ExecContext(ctx, `update devices set generation = 100`)
	require.Error(t, err, "a frozen worker learns that its transaction is gone")
	require.Error(t, tx.Commit())
	require.Equal(t, 7, count(t, other, `select generation from devices`))
	require.NoError(t, lost.Ping(ctx), "and goes on by another connection")
}

// frozenReader is a file of which the rest comes when the test says so.
type frozenReader struct {
	parts []string
	waits chan struct{}
}

func (r *frozenReader) Read(p []byte) (int, error) {
	if len(r.parts) == 0 {
		return 0, io.EOF
	}
	if r.waits != nil {
		<-r.waits
	}
	n := copy(p, r.parts[0])
	if r.parts[0] = r.parts[0][n:]; r.parts[0] == "" {
		r.parts = r.parts[1:]
	}
	return n, nil
}

func TestAnImportMayWaitForItsFile(t *testing.T) {
	t.Parallel()
	url := devtest.Database(t)
	store, other := openStore(t, with(url, "idle_in_transaction_session_timeout=200")), openStore(t, url)
	file := &frozenReader{
		waits: make(chan struct{}),
		parts: []string{"apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata: {name: web-7}\nspec: {}\n"},
	}
	done := make(chan error, 1)
	go func() {
		_, err := store.Import(t.Context(), file, inventory.ImportOptions{})
		done <- err
	}()
	require.Eventually(t, func() bool {
		return count(t, other, `select count(*) from pg_stat_activity where datname = current_database()
			and state = 'idle in transaction' and state_change < now() - interval '600 ms'`) == 1
	}, time.Minute, 20*time.Millisecond, "an import that waits is there after three times the limit of others")
	close(file.waits)
	require.NoError(t, <-done)
	require.Equal(t, 1, count(t, other, `select count(*) from devices`))
}

// A part of a roll changes a thousand rows and may wait longer for each than a transition does.
func TestAPartOfARollOutwaitsATransition(t *testing.T) {
	t.Parallel()
	url := devtest.Database(t)
	store, other := openStore(t, with(url, "lock_timeout=100")), openStore(t, url)
	full().create(t, other)
	openRestore(t, other, "r1")
	tx, err := other.DB().BeginTxx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.Exec(`update devices set generation = 99`)
	require.NoError(t, err)
	_, err = store.DB().ExecContext(t.Context(), `update devices set generation = 7`)
	require.ErrorContains(t, err, "lock timeout")

	done := make(chan error, 1)
	go func() {
		_, err := store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "r1"})
		done <- err
	}()
	require.Eventually(t, func() bool {
		return count(t, other, `select count(*) from pg_stat_activity where datname = current_database()
			and wait_event_type = 'Lock' and query_start < clock_timestamp() - interval '400 ms'`) == 1
	}, time.Minute, 20*time.Millisecond, "it waits after four times the limit of others")
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done)
	require.Equal(t, 1, count(t, other, `select count(*) from rollcall.roll`))
}
