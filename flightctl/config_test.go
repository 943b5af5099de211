package flightctl

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func load(vars map[string]string) (Config, bool, error) {
	return LoadConfig(func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	})
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

func TestConfigOfVariables(t *testing.T) {
	t.Parallel()
	_, configured, err := load(map[string]string{"ROLLCALL_TASK_QUEUE": "x", EnvServer: ""})
	require.NoError(t, err)
	require.False(t, configured)

	cfg, configured, err := load(map[string]string{
		EnvServer: "https://api.example.com", EnvTLSServerName: "api", EnvCAFile: write(t, "ca.pem", "PEM"),
		EnvTokenFile:    write(t, "token", " abc\n"),
		EnvOrganization: otherOrg, EnvStoreAddress: "kv:6379", EnvStorePassword: "friend", EnvStoreDB: "2",
		EnvRequestsPerMinute: "70",
	})
	require.NoError(t, err)
	require.True(t, configured)
	require.Equal(t, "abc", read(t, cfg.Token))
	require.Equal(t, "friend", read(t, cfg.StorePassword))
	require.Equal(t, "https://api.example.com|api|PEM|"+otherOrg+"|kv:6379|2|70", fmt.Sprint(
		cfg.Server, "|", cfg.TLSServerName, "|", string(cfg.CA), "|", cfg.Organization, "|", cfg.StoreAddress, "|",
		cfg.StoreDB, "|", cfg.RequestsPerMinute))
}

func TestConfigComplainsOnce(t *testing.T) {
	t.Parallel()
	_, configured, err := load(map[string]string{
		EnvCAFile: "/nowhere/ca.pem", EnvToken: "abc", EnvTokenFile: "/nowhere/token",
		EnvStorePasswordFile: "/nowhere/password",
		EnvStoreDB:           "x", EnvRequestsPerMinute: "300", EnvOrganization: "acme",
	})
	require.True(t, configured)
	for _, name := range []string{
		EnvServer, EnvCAFile, EnvTokenFile, EnvStoreAddress, EnvStorePasswordFile, EnvStoreDB, EnvRequestsPerMinute,
		EnvOrganization,
	} {
		require.ErrorContains(t, err, name)
	}
	require.NotContains(t, err.Error(), "abc")
	for _, server := range []string{
		"http://api.example.com", "api.example.com", "https://", "https://api.example.com/api/v1",
	} {
		_, _, err := load(map[string]string{EnvServer: server, EnvStoreAddress: "kv:6379"})
		require.ErrorContains(t, err, EnvServer, server)
	}
}

const loginFile = `
authentication:
  access-token: access-1
  id-token: id-1
  token-to-use: %s
  access-token-expiry: "2026-09-01T04:00:00Z"
  auth-provider:
    auth-provider: {kind: AuthProvider}
organization: ` + otherOrg + `
service:
  server: https://api.example.com:3443/
  tls-server-name: api
  %s
`

func TestConfigOfALogin(t *testing.T) {
	t.Parallel()
	data := "certificate-authority-data: " + base64.StdEncoding.EncodeToString([]byte("PEM"))
	file := write(t, "client.yaml", fmt.Sprintf(loginFile, "id", data))
	cfg, configured, err := load(map[string]string{EnvConfig: file, EnvStoreAddress: "kv:6379"})
	require.NoError(t, err)
	require.True(t, configured)
	require.Equal(t, "id-1", read(t, cfg.Token))
	require.Equal(t, "https://api.example.com:3443/|api|PEM|"+otherOrg,
		fmt.Sprint(cfg.Server, "|", cfg.TLSServerName, "|", string(cfg.CA), "|", cfg.Organization))

	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(loginFile, "access", "insecureSkipVerify: true")), 0o600))
	require.Equal(t, "access-1", read(t, cfg.Token), "a new login counts without a restart")
	cfg, _, err = load(map[string]string{
		EnvConfig: file, EnvStoreAddress: "kv:6379", EnvServer: "https://other.example.com", EnvToken: "mine",
	})
	require.NoError(t, err)
	require.True(t, cfg.InsecureSkipVerify)
	require.Equal(t, "https://other.example.com", cfg.Server, "a variable counts before the file")
	require.Equal(t, "mine", read(t, cfg.Token))
}

func TestConfigOfALoginWithACAFileBesideIt(t *testing.T) {
	t.Parallel()
	file := write(t, "client.yaml", fmt.Sprintf(loginFile, "access", "certificate-authority: ca.pem"))
	_, _, err := load(map[string]string{EnvConfig: file, EnvStoreAddress: "kv:6379"})
	require.ErrorContains(t, err, "certificate-authority")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "ca.pem"), []byte("PEM"), 0o600))
	cfg, _, err := load(map[string]string{EnvConfig: file, EnvStoreAddress: "kv:6379"})
	require.NoError(t, err)
	require.Equal(t, "PEM", string(cfg.CA))
}

func TestABrokenLoginIsNotQuoted(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{
		"authentication: {access-token: [very-secret\n", "authentication: {access-token: *very-secret}\n",
	} {
		file := write(t, "client.yaml", broken)
		_, _, err := load(map[string]string{EnvConfig: file, EnvStoreAddress: "kv:6379"})
		require.ErrorContains(t, err, file)
		require.NotContains(t, err.Error(), "very-secret")
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	cfg := Config{Token: SecretValue("sesame"), StorePassword: SecretValue("friend")}
	encoded, err := json.Marshal(cfg)
	require.NoError(t, err)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("config", "cfg", cfg, "token", cfg.Token)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.Token), string(encoded), log.String()} {
		require.NotContains(t, text, "sesame")
		require.NotContains(t, text, "friend")
		require.Contains(t, text, hidden)
	}
}

func read(t *testing.T, s Secret) string {
	t.Helper()
	text, err := s.Read()
	require.NoError(t, err)
	return text
}
