package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// issuer signs tokens, and serves the key that they are checked with.
type issuer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	url string
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes() // 4, then X and Y
	require.NoError(t, err)
	keys := map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "kid": "test", "alg": "ES256", "use": "sig",
		"x": encode(point[1:33]), "y": encode(point[33:]),
	}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(keys)
	}))
	t.Cleanup(server.Close)
	return issuer{t: t, key: key, url: server.URL}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is a JWT of a person with these permissions, in Temporal's form: namespace and role.
func (i issuer) token(subject string, permissions ...string) string {
	i.t.Helper()
	header, err := json.Marshal(map[string]string{"alg": "ES256", "typ": "JWT", "kid": "test"})
	require.NoError(i.t, err)
	claims, err := json.Marshal(map[string]any{
		"sub": subject, "permissions": permissions, "exp": time.Now().Add(time.Hour).Unix(),
	})
	require.NoError(i.t, err)
	signed := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	require.NoError(i.t, err)
	return signed + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// newIdentityBench is a world whose Temporal server knows its callers by their tokens. Its worker and its client have
// tokens of their own.
func newIdentityBench(t *testing.T) (*bench, issuer) {
	t.Helper()
	if _, err := devenv.FindTemporalPostgres(); err != nil {
		t.Skipf("needs a Temporal server that knows its callers: run `make test-identity` (%v)", err)
	}
	b, keys := newBench(t), newIssuer(t)
	dir, err := os.MkdirTemp("", "rollcall-identity-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	admin := keys.token("admin", "temporal-system:admin")
	server, err := devenv.StartTemporalOnPostgres(t.Context(), devenv.TemporalOnPostgresConfig{
		Dir: dir, SearchAttributes: runbook.SearchAttributes, Shards: 1, Conns: 5, AsyncCommit: true,
		JWKSURI: keys.url, Token: admin,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	b.server = devtest.Server{Address: server.Address(), Namespace: server.Namespace()}
	clientOf := func(subject string) client.Client {
		token := keys.token(subject, "default:write")
		return b.server.Client(t, host.DisableStickyQueue, func(o *client.Options) { *o = withToken(*o, token) })
	}
	b.client = clientOf("mallory")
	worker, err := host.New(t.Context(), host.Config{
		Client: clientOf("worker"), Store: b.openAs(roles.Worker), Namespace: b.server.Namespace, TaskQueue: b.queue,
		SkipSearchAttributes: true,
		Logger:               slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return b, keys
}

// as runs a command line with a person's token, which must succeed.
func (b *bench) as(token string, args ...string) {
	b.t.Helper()
	b.token = token
	b.ok(args...)
}

func TestIdentityIsWhoTheServerKnows(t *testing.T) {
	t.Parallel()
	b, keys := newIdentityBench(t)
	alice, bob := keys.token("alice@example.com", "default:write"), keys.token("bob@example.com", "default:write")
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4", "web-5", "web-6", "away"} {
		b.give(device{name: name, version: "5"})
	}
	b.as(alice, "restore", "--id", "first")
	b.as(alice, "reconnect", "device", "web-1", "--rendered-version", "7", "--reason", "read at its console")
	b.as(alice, "resume", "device", "web-1", "--reason", "checked")
	b.as(bob, "withdraw", "device", "web-2", "--force")
	for _, name := range []string{"web-3", "web-4", "web-5", "web-6"} {
		b.agentReports(name, "7", runbook.StateConflictPaused)
	}

	// Who says to be another is refused before anything is asked.
	for _, args := range [][]string{
		{"resume", "device", "web-3", "--as", "alice@example.com"},
		{"resume", "devices", "--all", "--as", "alice@example.com"},
		{"withdraw", "device", "web-3", "--force", "--as", "alice@example.com"},
		{"reconnect", "device", "web-3", "--rendered-version", "5", "--as", "alice@example.com"},
		{"cancel", "first", "--reason", "x", "--as", "alice@example.com"},
	} {
		o := b.run(args...)
		require.Equal(t, 1, o.code, "%v: %s", args, o.stderr)
		require.Contains(t, o.stderr, "bob@example.com", args)
	}
	require.Equal(t, runbook.StateConflictPaused, mustState(t, b, "web-3"))

	// Mallory's own messages in alice's name are asserted, or refused where they refer to a decision of hers.
	hers := runbook.Origin{Decision: b.decisionOf("web-1", "alice@example.com")}
	forged := b.update("web-3", runbook.ResumeRequest{By: "alice@example.com", Reason: "checked", Origin: hers})
	require.Equal(t, runbook.CodeNotDecided, forged.Code)
	require.True(t, b.update("web-3", runbook.ResumeRequest{By: "alice@example.com"}).Accepted)

	b.as(alice, "resume", "devices", "--field-selector=metadata.name=web-6", "--reason", "checked")
	b.as(alice, "plan", "resume", "devices", "--all", "--id", "p1")
	b.as(bob, "resume", "--plan", "p1", "--as", "bob@example.com", "--confirm", "2", "--reason", "ticket 4711")
	shown := b.ok("plan", "show", "p1")
	require.Contains(t, shown, "planned by alice@example.com (authenticated)")
	require.Contains(t, shown, "started by bob@example.com (authenticated)")

	require.ElementsMatch(t, []string{
		"restore alice@example.com authenticated",
		"reconnect web-1 alice@example.com authenticated cli",
		"resume web-1 alice@example.com authenticated cli",
		"withdraw web-2 bob@example.com authenticated cli",
		"reconnect web-3 agent signal", "reconnect web-4 agent signal", "reconnect web-5 agent signal",
		"reconnect web-6 agent signal",
		"resume web-3 alice@example.com asserted cli NotDecided",
		"resume web-3 alice@example.com asserted update",
		"resume-plan alice@example.com authenticated", "resume web-6 alice@example.com authenticated plan",
		"resume-plan bob@example.com authenticated",
		"resume web-4 bob@example.com authenticated plan", "resume web-5 bob@example.com authenticated plan",
	}, b.audited())
	require.Contains(t, b.ok("describe", "device", "web-1"), "alice@example.com (authenticated), cli")

	// A restore that a person starts in another's name is refused, and that is recorded.
	o := b.run("restore", "--id", "second", "--supersede", "--as", "alice@example.com")
	require.NotEqual(t, 0, o.code)
	require.Contains(t, b.audited(), "supersede bob@example.com authenticated NotYou")
	b.as(alice, "restore", "--id", "second", "--supersede", "--as", "alice@example.com")
	require.Contains(t, b.audited(), "supersede alice@example.com authenticated")
	b.as(alice, "cancel", "second", "--reason", "enough")
	require.Contains(t, b.audited(), "cancel alice@example.com authenticated cli")
	b.requireInvariants()
}
