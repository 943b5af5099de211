package preflight_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/preflight"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// bundle is a database with no one else on it.
type bundle struct {
	t     *testing.T
	url   string
	store *inventory.Store
	o     preflight.Options
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, url: devtest.Database(t)}
	b.store = b.open(b.url)
	b.o = preflight.Options{Store: b.store, FlightctlRoles: preflight.DefaultFlightctlRoles()}
	return b
}

func (b *bundle) open(url string) *inventory.Store {
	b.t.Helper()
	store, err := inventory.Open(b.t.Context(), url)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = store.Close() })
	return store
}

// role makes a role that may log in, and returns the URL for it. It may do nothing but what grants say.
func (b *bundle) role(grants ...string) (name, address string) {
	b.t.Helper()
	name = fmt.Sprintf("role_%x", rand.Uint64())
	b.exec("create role " + name + " login password 'x'")
	b.t.Cleanup(func() {
		db, err := sqlx.Connect("postgres", b.url)
		require.NoError(b.t, err)
		_, err = db.Exec("drop owned by " + name + "; drop role " + name)
		require.NoError(b.t, errors.Join(err, db.Close()))
	})
	for _, grant := range grants {
		b.exec("grant " + grant + " to " + name)
	}
	u, err := url.Parse(b.url)
	require.NoError(b.t, err)
	u.User = url.UserPassword(name, "x")
	return name, u.String()
}

func (b *bundle) exec(sql string) {
	b.t.Helper()
	_, err := b.store.DB().ExecContext(b.t.Context(), sql)
	require.NoError(b.t, err)
}

// stranger connects without our name, until the test ends.
func (b *bundle) stranger(address string) {
	b.t.Helper()
	db, err := sqlx.Connect("postgres", address)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = db.Close() })
}

func (b *bundle) finds(level flightctl.Level, subject, text, advice string) {
	b.t.Helper()
	report := preflight.Run(b.t.Context(), b.o)
	for _, f := range report.Findings {
		if f.Level == level && f.Subject == subject && strings.Contains(f.Text, text) && strings.Contains(f.Advice, advice) {
			return
		}
	}
	require.Fail(b.t, "not found", "%s %s %q %q in %+v", level, subject, text, advice, report.Findings)
}

func TestADatabaseThatIsRight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.finds(flightctl.OK, preflight.SubjectDatabase, "answers to", "")
	b.finds(flightctl.OK, preflight.SubjectDatabase, "no one is connected", "")
	b.finds(flightctl.OK, preflight.SubjectMode, "standalone", "")
	report := preflight.Run(t.Context(), b.o)
	require.False(t, report.Failed())
	require.Contains(t, report.Findings[0].Version, "PostgreSQL ")
	var log bytes.Buffer
	report.Log(slog.New(slog.NewTextHandler(&log, nil)))
	require.Contains(t, log.String(), "check=database")
}

func TestWhatIsWrongWithADatabase(t *testing.T) {
	t.Parallel()
	t.Run("away", func(t *testing.T) {
		t.Parallel()
		b := &bundle{t: t, o: preflight.Options{StoreError: errors.New("connection refused")}}
		b.finds(flightctl.Failed, preflight.SubjectDatabase, "connection refused", "ROLLCALL_DATABASE_URL")
		require.True(t, preflight.Run(t.Context(), b.o).Failed())
	})
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		b := &bundle{t: t}
		b.o.Store = b.open(devtest.EmptyDatabase(t))
		b.finds(flightctl.Failed, preflight.SubjectDatabase, "", "starter migrate")
	})
	t.Run("rights", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		name, address := b.role("usage on schema rollcall", "select on all tables in schema rollcall, public")
		b.o.Store = b.open(address)
		b.finds(flightctl.Failed, preflight.SubjectDatabase,
			name+" lacks UPDATE on device_timestamps, INSERT on devices, UPDATE on devices", "grant")
	})
	t.Run("rights of a login that decides", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		name, address := b.role()
		b.exec("grant rollcall_operator to " + name)
		b.o.Store = b.open(address)
		for _, f := range preflight.Run(t.Context(), b.o).Findings {
			require.NotContains(t, f.Text, "lacks")
		}
		b.exec("revoke update on devices from rollcall_worker")
		b.finds(flightctl.Failed, preflight.SubjectDatabase, "the worker's role rollcall_worker lacks UPDATE on devices",
			"starter migrate --roles")
	})
	t.Run("a role that backs up", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		name, _ := b.role("usage on schema rollcall", "select on all tables in schema rollcall")
		b.o.FlightctlRoles = []string{name}
		b.finds(flightctl.Warning, preflight.SubjectDatabase, name+" cannot read all of the schema rollcall",
			"starter migrate")
		b.exec("grant select on all sequences in schema rollcall to " + name)
		for _, f := range preflight.Run(t.Context(), b.o).Findings {
			require.NotContains(t, f.Text, "cannot read all")
		}
	})
	t.Run("read only", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		name, address := b.role("usage on schema rollcall", "select on all tables in schema rollcall, public")
		b.exec("alter role " + name + " set default_transaction_read_only = on")
		_, err := inventory.Open(t.Context(), address)
		require.ErrorContains(t, err, "no server of the database URL can be written to")
	})
}

func TestClientsThatShouldNotBeThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.o.Flightctl = nobodysFlightControl(t)
	name, address := b.role()
	b.stranger(address)
	b.finds(flightctl.Warning, preflight.SubjectDatabase, "someone else is connected (role "+name, "--flightctl-role")
	b.o.FlightctlRoles = []string{name}
	b.finds(flightctl.OK, preflight.SubjectDatabase, "no one is connected but those who should be", "")
	b.o.Flightctl = nil
	b.finds(flightctl.Warning, preflight.SubjectDatabase, "while the mode is standalone (role "+name,
		"ROLLCALL_FLIGHTCTL_")
}

func TestAddressesOfClients(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.o.Flightctl = nobodysFlightControl(t)
	name, address := b.role()
	if u, err := url.Parse(address); err != nil || u.Hostname() == "" {
		t.Skip("the server is reached through a socket, which has no address")
	}
	b.stranger(address)
	b.o.FlightctlRoles, b.o.FlightctlAddresses = []string{name}, []string{"192.0.2.7"}
	b.finds(flightctl.Warning, preflight.SubjectDatabase, "at an unknown address is connected (role "+name,
		"--flightctl-address")
	_, blind := b.role("usage on schema rollcall", "select on all tables in schema rollcall, public")
	b.o.Store = b.open(blind)
	b.finds(flightctl.Warning, preflight.SubjectDatabase, "are hidden from", "pg_read_all_stats")
}

// nobodysFlightControl is a client of a server that is not there.
func nobodysFlightControl(t *testing.T) *flightctl.Client {
	t.Helper()
	c, err := flightctl.Open(flightctl.Config{Server: "https://127.0.0.1:1", StoreAddress: "127.0.0.1:1"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAModeThatIsAnothers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "night", Mode: runbook.ModeFlightctl})
	require.NoError(t, err)
	b.finds(flightctl.Failed, preflight.SubjectMode, "restore night runs in the mode flightctl", "ROLLCALL_FLIGHTCTL_")
	b.o.Flightctl = nobodysFlightControl(t)
	b.finds(flightctl.OK, preflight.SubjectMode, "flightctl", "")
}

func TestFlightControl(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.o.FlightctlError = errors.New("no server")
	b.finds(flightctl.Failed, flightctl.SubjectAPI, "no server", "ROLLCALL_FLIGHTCTL_")
	require.Equal(t, runbook.ModeFlightctl, preflight.Run(t.Context(), b.o).Mode)
	b.o.FlightctlError, b.o.Flightctl = nil, nobodysFlightControl(t)
	b.finds(flightctl.Failed, flightctl.SubjectAPI, "not reachable", "")

	dir := t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	f, err := fake.Start(fake.Config{DatabaseURL: b.url, CA: ca})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	b.o.Flightctl, err = flightctl.Open(f.Client())
	require.NoError(t, err)
	b.finds(flightctl.OK, flightctl.SubjectAPI, "all that a roll call needs", "")
	b.finds(flightctl.OK, flightctl.SubjectStore, "API servers that listen there: 1", "")
}

func TestTemporal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.o.TemporalError = errors.New("connection refused")
	b.finds(flightctl.Failed, preflight.SubjectTemporal, "connection refused", "TEMPORAL_ADDRESS")
	server := devtest.Temporal(t)
	b.o.TemporalError, b.o.Temporal = nil, server.Client(t)
	b.o.Namespace, b.o.TaskQueue = "no-such-namespace", devtest.TaskQueue(t)
	b.finds(flightctl.Failed, preflight.SubjectTemporal, "namespace no-such-namespace", "create it")
	b.o.Namespace = "default"
	b.finds(flightctl.OK, preflight.SubjectTemporal, "answers", "")
	b.finds(flightctl.Warning, preflight.SubjectTemporal, "no worker polls", "start one")
}

func TestTheGatewayAndTheOldControlPlane(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.finds(flightctl.Warning, preflight.SubjectGateway, "not looked at", "ROLLCALL_GATEWAY_URL")
	server := httptest.NewTLSServer(http.NotFoundHandler())
	b.o.GatewayURL, b.o.OldURL = server.URL, server.URL
	b.finds(flightctl.Failed, preflight.SubjectGateway, "unknown authority", "ROLLCALL_CA_CERT")
	b.o.GatewayCA = filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(b.o.GatewayCA, text, 0o600))
	b.finds(flightctl.OK, preflight.SubjectGateway, "answers", "")
	b.finds(flightctl.Warning, preflight.SubjectOld, "still answers", "stop it for good")
	b.o.Flightctl = nobodysFlightControl(t)
	b.finds(flightctl.Warning, preflight.SubjectGateway, "answers agents, too", "stop it")
	b.o.Flightctl = nil
	server.Close()
	b.finds(flightctl.Failed, preflight.SubjectGateway, "refused", "")
	b.finds(flightctl.OK, preflight.SubjectOld, "does not answer", "")
}
