package fake_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
	"rollcall/internal/devenv/devtest"
)

const org = "00000000-0000-0000-0000-000000000000"

// bundle is a fake, a client of it and its tables.
type bundle struct {
	t      *testing.T
	fake   *fake.FlightControl
	client *flightctl.Client
	db     *sqlx.DB
	ca     *authority.CA
}

func setup(t *testing.T, change ...func(*fake.Config)) *bundle {
	t.Helper()
	dir := t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	cfg := fake.Config{DatabaseURL: devtest.Database(t), CA: ca, SaveEvery: time.Hour}
	for _, c := range change {
		c(&cfg)
	}
	b := &bundle{t: t, ca: ca}
	b.fake, err = fake.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.fake.Close()) })
	b.db, err = sqlx.Connect("postgres", cfg.DatabaseURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.db.Close() })
	b.client, err = flightctl.Open(b.fake.Client())
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.client.Close() })
	return b
}

// row is a device's row as it is looked at here.
type row struct {
	Awaiting  string `db:"awaiting"`
	Paused    string `db:"paused"`
	Version   string `db:"version"`
	Reported  string `db:"reported"`
	Summary   string `db:"summary"`
	Updated   string `db:"updated"`
	Resource  int64  `db:"resource_version"`
	UpdatedAt string `db:"updated_at"`
}

func (b *bundle) row(name string) row {
	b.t.Helper()
	var r row
	require.NoError(b.t,
		b.db.Get(&r, `select coalesce(annotations->>'device-controller/awaitingReconnect', '') as awaiting,
		coalesce(annotations->>'device-controller/conflictPaused', '') as paused,
		coalesce(annotations->>'device-controller/renderedVersion', '') as version,
		coalesce(status->'config'->>'renderedVersion', '') as reported, coalesce(status->'summary'->>'status', '') as summary,
		coalesce(status->'updated'->>'status', '') as updated, resource_version, updated_at::text as updated_at from devices
		where name = $1`, name))
	return r
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.ExecContext(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

// waiting makes a device that awaits its reconnect, as restored at a version.
func (b *bundle) waiting(name, version string) {
	b.t.Helper()
	b.exec(`insert into devices (org_id, name, annotations, resource_version, created_at, updated_at, spec, status)
		values ($1, $2,
		jsonb_build_object('device-controller/awaitingReconnect', 'true', 'device-controller/renderedVersion', $3::text,
		'device-controller/renderedSpecHash', 'old'),
		1, now(), '2026-01-01', '{"os": {"image": "quay.io/acme/os:1"}}', '{"config": {"renderedVersion": "1"}, "summary": {"status": "AwaitingReconnect"}}')`, org, name, version)
}

// paused makes a device that is ConflictPaused.
func (b *bundle) paused(name, version, reported string) {
	b.t.Helper()
	b.waiting(name, version)
	b.exec(`update devices set annotations = annotations - 'device-controller/awaitingReconnect' ||
		'{"device-controller/conflictPaused": "true"}',
		status = jsonb_set(status, '{config,renderedVersion}', to_jsonb($2::text)) where name = $1`, name, reported)
}

// answer is what an API said.
type answer struct {
	code int
	body string
}

// agent makes requests as a device.
func (b *bundle) agent(name string) func(method, path string, body any) answer {
	b.t.Helper()
	return b.with(b.ca.Device(name, time.Hour))
}

// enrolling makes requests with the certificate to enroll with.
func (b *bundle) enrolling() func(method, path string, body any) answer {
	b.t.Helper()
	return b.with(b.ca.Enrollment("", time.Hour))
}

// with makes requests with a client certificate.
func (b *bundle) with(pair authority.Pair, err error) func(method, path string, body any) answer {
	b.t.Helper()
	require.NoError(b.t, err)
	certificate, err := pair.TLS()
	require.NoError(b.t, err)
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: b.ca.Pool(), Certificates: []tls.Certificate{certificate}},
		},
	}
	b.t.Cleanup(client.CloseIdleConnections)
	return func(method, path string, body any) answer {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{body: err.Error()}
		}
		r, err := http.NewRequest(method, b.fake.AgentURL()+"/api/v1"+path, bytes.NewReader(raw))
		if err != nil {
			return answer{body: err.Error()}
		}
		if method == http.MethodPatch {
			r.Header.Set("Content-Type", "application/json-patch+json")
		}
		res, err := client.Do(r)
		if err != nil {
			return answer{body: err.Error()}
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return answer{res.StatusCode, string(text)}
	}
}

func (b *bundle) poll(name, known string) answer {
	return b.agent(name)("GET", fmt.Sprintf("/devices/%s/rendered?knownRenderedVersion=%s", name, known), nil)
}

// eventually waits until a device's row is as it should be.
func (b *bundle) eventually(name string, is func(row) bool) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return is(b.row(name)) }, 2*time.Minute, 10*time.Millisecond, "%s", name)
}

// idle waits until the queue is empty, so that what was not rendered will not be.
func (b *bundle) idle() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		entries, err := b.fake.Store().Stream("task-queue")
		return err != nil || len(entries) == 0
	}, 2*time.Minute, 10*time.Millisecond)
}

// user makes a request of the user API as the administrator.
func (b *bundle) user(method, path string, body any) answer {
	b.t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(b.t, err)
	r, err := http.NewRequest(method, b.fake.URL()+"/api/v1"+path, bytes.NewReader(raw))
	require.NoError(b.t, err)
	r.Header.Set("Authorization", "Bearer token-of-admin")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: b.ca.Pool()}, DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(r)
	require.NoError(b.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return answer{res.StatusCode, string(text)}
}
