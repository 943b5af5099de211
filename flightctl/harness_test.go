package flightctl

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
)

const org = "00000000-0000-0000-0000-000000000000"

// handClock is a clock that moves only when someone sleeps on it.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newHandClock() *handClock { return &handClock{now: time.Date(2026, 9, 1, 3, 0, 0, 0, time.UTC)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// seen is a request that the API got.
type seen struct {
	method, path, org, token, id string
	body                         map[string]any
	at                           time.Time
}

// bundle is a client, and servers that answer what the test says.
type bundle struct {
	client *Client
	cfg    Config
	clock  *handClock
	store  *miniredis.Miniredis
	server *httptest.Server

	mu     sync.Mutex
	seen   []seen
	answer func(w http.ResponseWriter, r *http.Request, body map[string]any)
}

func setup(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body map[string]any)) *bundle {
	t.Helper()
	b := &bundle{clock: newHandClock(), store: miniredis.RunT(t), answer: answer}
	b.server = httptest.NewTLSServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.server.Close)
	b.cfg = Config{
		Server: b.server.URL, Token: SecretValue("sesame"), StoreAddress: b.store.Addr(), Clock: b.clock,
		CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.server.Certificate().Raw}),
	}
	b.client = b.open(t)
	return b
}

// open makes another client, of the configuration as it is now.
func (b *bundle) open(t *testing.T) *Client {
	t.Helper()
	c, err := Open(b.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (b *bundle) serve(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var body map[string]any
	_ = json.Unmarshal(raw, &body)
	b.mu.Lock()
	b.seen = append(b.seen, seen{
		method: r.Method, path: r.URL.Path, org: r.URL.Query().Get("org_id"), body: body, at: b.clock.Now(),
		token: r.Header.Get("Authorization"), id: r.Header.Get("X-Request-Id"),
	})
	b.mu.Unlock()
	b.answer(w, r, body)
}

func (b *bundle) requests() []seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]seen(nil), b.seen...)
}

// status answers as Flight Control answers what it does not do.
func status(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "v1beta1", "kind": "Status", "code": code, "status": "Failure", "message": message,
	})
}

func says(text string) func(http.ResponseWriter, *http.Request, map[string]any) {
	return func(w http.ResponseWriter, _ *http.Request, _ map[string]any) { _, _ = io.WriteString(w, text) }
}
