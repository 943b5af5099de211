package flightctl

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const allRights = `{"permissions":[{"resource":"*","operations":["*"]}]}`

// api answers as an API server with these permissions does.
func api(permissions string) func(http.ResponseWriter, *http.Request, map[string]any) {
	return func(w http.ResponseWriter, r *http.Request, _ map[string]any) {
		if r.URL.Path == "/api/version" {
			_, _ = fmt.Fprint(w, `{"version":"v1.2.3"}`)
			return
		}
		_, _ = fmt.Fprint(w, permissions)
	}
}

func TestCheckOfWhatIsRight(t *testing.T) {
	t.Parallel()
	b := setup(t, api(allRights))
	b.listen(t)
	found := b.client.checkAPI(t.Context())
	require.Equal(t, []Finding{
		{Subject: SubjectAPI, Level: OK, Text: b.server.URL + " answers", Version: "v1.2.3"},
		{Subject: SubjectAPI, Level: OK, Text: "the token's user may do all that a roll call needs"},
	}, found)
}

// listen takes the place of an API server at the store.
func (b *bundle) listen(t *testing.T) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: b.store.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	listener := client.Subscribe(t.Context(), wakeChannel)
	t.Cleanup(func() { _ = listener.Close() })
	_, err := listener.Receive(t.Context())
	require.NoError(t, err)
}

func TestCheckReportsEachFailureOfTheAPI(t *testing.T) {
	t.Parallel()
	teapot := func(code int) func(http.ResponseWriter, *http.Request, map[string]any) {
		return func(w http.ResponseWriter, r *http.Request, body map[string]any) {
			if r.URL.Path == "/api/version" {
				api("")(w, r, body)
				return
			}
			status(w, code, "because")
		}
	}
	operator := `{"permissions":[{"resource":"devices","operations":["get","delete"]},{"resource":"*","operations":["get","list"]}]}`
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, map[string]any)
		change func(b *bundle)
		level  Level
		text   string
		advice string
	}{
		"down":         {api(""), func(b *bundle) { b.server.Close() }, Failed, "not reachable", EnvServer},
		"wrong CA":     {api(""), func(b *bundle) { b.cfg.CA = nil }, Failed, "unknown authority", EnvCAFile},
		"other server": {says(`{}`), nil, Failed, "not as Flight Control does", EnvServer},
		"web page":     {says(`<html>`), nil, Failed, "cannot be read", ""},
		"failing":      {teapot(500), nil, Failed, "outcome unknown (500)", "log of flightctl-api"},
		"bad token":    {teapot(401), nil, Failed, "token not accepted (401): because", "flightctl login"},
		"expired": {
			teapot(401), func(b *bundle) { b.cfg.Token = SecretValue(jwt(b.clock.Now().Add(-time.Hour))) },
			Failed, "token expired (401): it ended at 2026-09-01T02:00:00Z", "flightctl login",
		},
		"expires soon": {
			api(allRights), func(b *bundle) { b.cfg.Token = SecretValue(jwt(b.clock.Now().Add(5 * time.Minute))) },
			Warning, "the token ends in 5m0s", "renew",
		},
		"token file is gone": {
			api(allRights), func(b *bundle) { b.cfg.Token = SecretFile("/nowhere/token") },
			Failed, "open /nowhere/token", "",
		},
		"no member":          {teapot(403), nil, Failed, "not allowed (403)", EnvOrganization},
		"many organisations": {teapot(400), nil, Failed, "rejected (400)", EnvOrganization},
		"no token": {
			teapot(400), func(b *bundle) { b.cfg.Token = Secret{} },
			Failed, "rejected (400)", "there is no token: set " + EnvTokenFile,
		},
		"limited":           {teapot(429), nil, Warning, "too many requests", "wait a minute"},
		"no authentication": {teapot(418), nil, Warning, "switched off", "configure"},
		"no such call":      {teapot(404), nil, Warning, "does not say", "flightctl-admin"},
		"operator": {
			api(operator), nil, Failed, "may not resume devices (update of devices/resume), nor withdraw", "flightctl-admin",
		},
		"denied by own entry": {
			api(`{"permissions":[{"resource":"*","operations":["*"]},{"resource":"devices/resume","operations":[]}]}`), nil,
			Failed, "may not resume devices", "flightctl-admin",
		},
		"certificate not seen": {api(allRights), func(b *bundle) {
			b.cfg.CA, b.cfg.InsecureSkipVerify = nil, true
		}, Warning, "not verified", EnvCAFile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, c.answer)
			if c.change != nil {
				c.change(b)
			}
			found := b.open(t).checkAPI(t.Context())
			require.True(t, has(found, c.level, c.text, c.advice), "%+v", found)
			require.NotContains(t, texts(found), "sesame")
		})
	}
}

func TestCheckReportsEachFailureOfTheStore(t *testing.T) {
	t.Parallel()
	b := setup(t, api(allRights))
	found := b.client.Check(t.Context())
	require.True(t, has(found, OK, b.store.Addr()+" answers", ""), "%+v", found)
	require.True(t, has(found, Warning, "no API server of Flight Control listens there", EnvStoreAddress), "%+v", found)
	b.listen(t)
	require.True(t, has(b.client.Check(t.Context()), OK, "API servers that listen there: 1", ""))

	b.store.RequireAuth("friend")
	found = b.open(t).Check(t.Context())
	require.True(t, has(found, Failed, "does not accept the password", EnvStorePasswordFile), "%+v", found)
	b.store.Close()
	found = b.open(t).Check(t.Context())
	require.True(t, has(found, Failed, b.cfg.StoreAddress, EnvStoreAddress), "%+v", found)
}

func TestCheckReadsWhatTheStoreSaysOfItself(t *testing.T) {
	t.Parallel()
	fields := infoFields("# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\n" +
		"role:slave\r\nmaster_host:kv\r\nmaster_port:6379\r\n")
	require.Equal(t, "Valkey 8.0.1", storeVersion(fields))
	require.Contains(t, readOnly(fields).Advice, "kv:6379")
	require.Nil(t, readOnly(infoFields("role:master\r\n")))

	b := setup(t, api(allRights))
	b.cfg.StoreAddress = startRedis(t, "")
	direct := redis.NewClient(&redis.Options{Addr: b.cfg.StoreAddress})
	t.Cleanup(func() { _ = direct.Close() })
	ctx := context.Background()
	require.NoError(t, direct.ConfigSet(ctx, "maxmemory", "100mb").Err())
	require.NoError(t, direct.ConfigSet(ctx, "maxmemory-policy", "allkeys-lru").Err())
	require.True(t, has(b.open(t).Check(ctx), Warning, "maxmemory-policy allkeys-lru", "put back"))
}

func has(found []Finding, level Level, text, advice string) bool {
	for _, f := range found {
		if f.Level == level && strings.Contains(f.Text, text) && strings.Contains(f.Advice, advice) {
			return true
		}
	}
	return false
}

func texts(found []Finding) string {
	var all []string
	for _, f := range found {
		all = append(all, f.Text)
	}
	return strings.Join(all, "\n")
}
