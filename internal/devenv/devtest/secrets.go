package devtest

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Secret is in every value of BrokenSecrets, in each place where a parser can cut the value.
const Secret = "hush"

// BrokenSecret is a setting that holds a secret and cannot be used.
type BrokenSecret struct {
	Name string
	// Env makes a process use it, added to what the process needs otherwise.
	Env []string
}

// BrokenSecrets are broken values of each secret setting that worker, gateway and starter know: the database URL and
// its password, what Temporal's environment and profile hold, and the token and password for Flight Control.
func BrokenSecrets(t *testing.T) []BrokenSecret {
	t.Helper()
	there, err := url.Parse(Database(t))
	require.NoError(t, err)
	var all []BrokenSecret
	for name, database := range map[string]string{
		"escape":               "postgres://u:hush%zzhush@127.0.0.1:1/db",
		"slash":                "postgres://u:hush/hush@127.0.0.1:1/db",
		"question mark":        "postgres://u:hush?hush@127.0.0.1:1/db",
		"number sign":          "postgres://u:hush#hush@127.0.0.1:1/db",
		"digits and a slash":   "postgres://hush:12/hush@127.0.0.1:1/db",
		"control character":    "postgres://u:hush\x7fhush@127.0.0.1:1/db",
		"port":                 "postgres://u:hush@127.0.0.1:hush/db",
		"several hosts":        "postgres://u:hush@127.0.0.1:hush,127.0.0.1:hush/db",
		"mistyped scheme":      "postgresq://u:hush@127.0.0.1:1/db",
		"parameter's value":    "postgres://u:hush@127.0.0.1:1/db?sslmode=hush",
		"parameter's name":     "postgres://u:x@127.0.0.1:1/db?password=a&hush$=hush",
		"parameter's escape":   "postgres://u:x@127.0.0.1:1/db?password=hush%hush",
		"key without a value":  "host=127.0.0.1 port=1 password=a hush",
		"quote":                "host=127.0.0.1 port=1 password='hush hush",
		"no URL at all":        "hush",
		"no one listens":       "postgres://u:hush@127.0.0.1:1/db?sslmode=disable",
		"refused by the other": there.String() + "&hush=hush",
		"value refused there":  there.String() + "&work_mem=hush",
		"key refused there": "host=" + there.Hostname() + " port=" + there.Port() +
			" sslmode=disable password=a hush=hush",
		"wrong password": "postgres://unknown:hush@" + there.Host + "/db?sslmode=disable",
	} {
		all = append(all, BrokenSecret{"database URL: " + name, []string{"ROLLCALL_DATABASE_URL=" + database}})
	}
	inFile := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(inFile, []byte("postgres://u:hush%zz@127.0.0.1:1/db"), 0o600))
	all = append(all, BrokenSecret{"database URL: in a file", []string{"ROLLCALL_DATABASE_URL_FILE=" + inFile}})
	all = append(all, flightctlSecrets(t, there.String())...)
	return append(all, temporalSecrets(t, there.String())...)
}

// flightctlSecrets are settings of Flight Control that a worker refuses once it has reached database and Temporal.
func flightctlSecrets(t *testing.T, database string) []BrokenSecret {
	t.Helper()
	temporal := Temporal(t)
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	var all []BrokenSecret
	for name, env := range map[string][]string{
		"token alone":        {"TOKEN=hush"},
		"token twice":        {"TOKEN=hush", "TOKEN_FILE=" + file("hush")},
		"token in a file":    {"TOKEN_FILE=" + file("hush\nhush")},
		"password alone":     {"KV_PASSWORD=hush"},
		"password twice":     {"KV_PASSWORD=hush", "KV_PASSWORD_FILE=" + file("hush")},
		"password in a file": {"KV_PASSWORD_FILE=" + file("hush\nhush")},
		"server":             {"SERVER=https://u:hush@127.0.0.1/api/v1"},
		"server, no URL":     {"SERVER=u:hush@127.0.0.1"},
		"store":              {"KV_ADDRESS=redis://:hush@127.0.0.1"},
		"login, unfinished":  {"CONFIG=" + file("authentication: {access-token: hush")},
		"login, a list":      {"CONFIG=" + file("authentication: {access-token: [hush]}")},
		"login, no server":   {"CONFIG=" + file("authentication: {access-token: hush}")},
	} {
		broken := BrokenSecret{Name: "Flight Control: " + name}
		for _, setting := range env {
			broken.Env = append(broken.Env, "ROLLCALL_FLIGHTCTL_"+setting)
		}
		broken.Env = append(broken.Env, "ROLLCALL_DATABASE_URL="+database, "TEMPORAL_ADDRESS="+temporal.Address,
			"TEMPORAL_NAMESPACE="+temporal.Namespace)
		all = append(all, broken)
	}
	return all
}

func temporalSecrets(t *testing.T, database string) []BrokenSecret {
	t.Helper()
	var all []BrokenSecret
	add := func(name string, env ...string) {
		all = append(all, BrokenSecret{name, append(env, "ROLLCALL_DATABASE_URL="+database, "TEMPORAL_ADDRESS=127.0.0.1:1")})
	}
	add("API key", "TEMPORAL_API_KEY=hush\nhush")
	keyFile := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(keyFile, []byte("hush\nhush"), 0o600))
	add("API key: in a file", "TEMPORAL_API_KEY_FILE="+keyFile)
	add("header", "TEMPORAL_GRPC_META_AUTHORIZATION=hush\nhush")
	add("client key", "TEMPORAL_TLS_CLIENT_CERT_DATA=hush", "TEMPORAL_TLS_CLIENT_KEY_DATA=hush")
	add("client key alone", "TEMPORAL_TLS_CLIENT_KEY_DATA=-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----")
	for name, line := range map[string]string{
		"without quotes": "api_key = hush", "unfinished": `api_key = "hush`, "number": "api_key = 12hush",
		"escape": `api_key = "\hush"`,
		"date":   "api_key = 2026-11-29hush", "no key": `"hush`, "array": "api_key = [hush]",
		"twice": "api_key = 'x'\napi_key = 'hush'",
	} {
		file := filepath.Join(t.TempDir(), strings.ReplaceAll(name, " ", "-")+".toml")
		require.NoError(t, os.WriteFile(file, []byte("[profile.default]\n"+line+"\n"), 0o600))
		add("profile: "+name, "TEMPORAL_CONFIG_FILE="+file)
	}
	return all
}
