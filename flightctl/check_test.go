package flightctl

import (
	"context"
	"fmt"
	"net/http"
	"os"
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
	teapotSays := func(code int, text string) func(http.ResponseWriter, *http.Request, map[string]any) {
		return func(w http.ResponseWriter, r *http.Request, body map[string]any) {
			if r.URL.Path == "/api/version" {
				api("")(w, r, body)
				return
			}
			status(w, code, text)
		}
	}
	teapot := func(code int) func(http.ResponseWriter, *http.Request, map[string]any) {
		return teapotSays(code, "because")
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
			Failed, "no token: token: read secret: open /nowhere/token", "see that the token can be read: /nowhere/token",
		},
		"token variable": {
			teapot(401), func(b *bundle) { b.cfg.Token = Secret{value: "x", variable: EnvToken} },
			Failed, "token not accepted", "renew the token of " + EnvToken,
		},
		"no token": {
			teapotSays(400, noTokenText), func(b *bundle) { b.cfg.Token = Secret{} },
			Failed, "no token (400): " + noTokenText, EnvTokenFile,
		},
		"no member":         {teapot(403), nil, Failed, "not allowed (403)", EnvOrganization},
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

// An opaque token does not say when it ends. The file of `flightctl login` does.
func TestTheEndOfATokenIsThatOfItsLogin(t *testing.T) {
	t.Parallel()
	refuses := false
	b := setup(t, func(w http.ResponseWriter, r *http.Request, body map[string]any) {
		if refuses && r.URL.Path != "/api/version" {
			status(w, 401, "failed to validate token")
			return
		}
		api(allRights)(w, r, body)
	})
	file := write(t, "client.yaml", fmt.Sprintf(loginFile, "access", "")) // until 04:00
	var login Config
	require.NoError(t, readLogin(file, &login))
	b.cfg.Token = login.Token
	require.Len(t, b.open(t).checkAPI(t.Context()), 3, "at 03:00 there is an hour left")
	found := b.open(t).checkAPI(t.Context())
	require.True(t, has(found, Warning, "the token ends in 1h0m0s, at 2026-09-01T04:00:00Z", EnvConfig), "%+v", found)

	refuses = true
	require.NoError(t, b.clock.Sleep(t.Context(), time.Hour))
	found = b.open(t).checkAPI(t.Context())
	require.True(t, has(found, Failed, "token expired (401): it ended at 2026-09-01T04:00:00Z",
		"run `flightctl login` again; the token is that of "+file), "%+v", found)

	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(loginFile, "id", "")), 0o600))
	found = b.open(t).checkAPI(t.Context())
	require.True(t, has(found, Failed, "token not accepted (401)", ""), "the end is the access token's: %+v", found)
}

// members answers as an API server with an organisation in which the user may do everything, and one in which it may do
// nothing.
func members(w http.ResponseWriter, r *http.Request, body map[string]any) {
	switch asked := r.URL.Query().Get("org_id"); {
	case r.URL.Path == "/api/v1/organizations":
		_, _ = fmt.Fprintf(w, `{"items": [{"metadata": {"name": %q}}, {"metadata": {"name": %q}}]}`, org, otherOrg)
	case r.URL.Path != "/api/v1/auth/permissions":
		api("")(w, r, body)
	case asked == org:
		_, _ = fmt.Fprint(w, allRights)
	case asked == otherOrg:
		_, _ = fmt.Fprint(w, `{"permissions": []}`)
	case asked == "":
		status(w, 400, "user belongs to multiple organizations but no organization specified")
	default:
		status(w, 403, "access denied to organization")
	}
}

// Each call of a roll call names its organisation, so that a user of several needs no configuration.
func TestCheckOfAUserOfSeveralOrganisations(t *testing.T) {
	t.Parallel()
	b := setup(t, members)
	const may, notMay = "the token's user may do all that a roll call needs", "the token's user may not resume devices"
	found := b.client.checkAPI(t.Context(), org)
	require.True(t, has(found, OK, may, ""), "%+v", found)
	require.Len(t, found, 2, "%+v", found)
	found = b.client.checkAPI(t.Context(), org, otherOrg)
	require.True(t, has(found, Failed, "organisation "+otherOrg+": "+notMay, "flightctl-admin"), "%+v", found)
	require.False(t, has(found, OK, may, ""), "%+v", found)
	found = b.client.checkAPI(t.Context())
	require.True(t, has(found, Failed, "organisation "+otherOrg+": "+notMay, ""), "those that the user has: %+v", found)
	const third = "33333333-2222-3333-4444-555555555555"
	found = b.client.checkAPI(t.Context(), org, third)
	require.True(t, has(found, Failed, "organisation "+third+": ", "a member of the organisation"), "%+v", found)
	found = b.client.checkAPI(t.Context(), org, org)
	require.True(t, has(found, OK, may+" in each of 2 organisations", ""), "%+v", found)

	b.cfg.Organization = org
	found = b.open(t).checkAPI(t.Context())
	require.True(t, has(found, OK, may, ""), "the configured one: %+v", found)
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
