package main

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

// asGateway makes the test binary behave as the gateway, for subprocesses.
const asGateway = "ROLLCALL_TEST_AS_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(asGateway) != "" {
		main()
		return
	}
	devtest.Main(m)
}

// gateway is a gateway process.
func gateway(t *testing.T, env []string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), append(env, asGateway+"=1")...)
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// It starts and serves without Temporal, and ends gracefully.
func TestServesOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ca, err := authority.LoadOrMake(at("ca.crt"), at("ca.key"))
	require.NoError(t, err)
	server, err := ca.Server([]string{"127.0.0.1"}, time.Hour)
	require.NoError(t, err)
	require.NoError(t, server.Write(at("gateway.crt"), at("gateway.key")))
	url := devtest.Database(t)
	store, err := inventory.Open(t.Context(), url)
	require.NoError(t, err)
	defer store.Close()
	_, err = store.Import(t.Context(),
		strings.NewReader(`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"web-7"},"spec":{"os":{}}}`), inventory.ImportOptions{})
	require.NoError(t, err)
	cmd, out := gateway(t, []string{
		"ROLLCALL_DATABASE_URL=" + url, "TEMPORAL_ADDRESS=127.0.0.1:1", "ROLLCALL_GATEWAY_LISTEN=127.0.0.1:0",
		"ROLLCALL_GATEWAY_CERT=" + at("gateway.crt"), "ROLLCALL_GATEWAY_KEY=" + at("gateway.key"),
		"ROLLCALL_CA_CERT=" + at("ca.crt"),
		"ROLLCALL_CA_KEY=" + at("ca.key"),
	}, "--render")
	require.NoError(t, cmd.Start())
	started := regexp.MustCompile(`msg="Gateway started" address=(\S+)`)
	require.Eventually(t, func() bool { return started.MatchString(out.String()) }, time.Minute, 20*time.Millisecond, out)
	address := started.FindStringSubmatch(out.String())[1]
	require.Contains(t, out.String(), "signs=true")

	device, err := ca.Device("web-7", time.Hour)
	require.NoError(t, err)
	certificate, err := device.TLS()
	require.NoError(t, err)
	client := http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{certificate}},
		},
	}
	response, err := client.Get("https://" + address + "/api/v1/devices/web-7/rendered")
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), out)
	require.Contains(t, out.String(), "Gateway stopped")
}

func TestComplainsClearly(t *testing.T) {
	t.Parallel()
	loopback := []string{"--plain-http", "--listen", "127.0.0.1:0"}
	for name, tc := range map[string]struct {
		env  []string
		args []string
		code int
		says string
	}{
		"unknown flag":    {nil, []string{"--frobnicate"}, 2, "frobnicate"},
		"argument":        {nil, []string{"device"}, 2, "no arguments"},
		"no certificates": {nil, nil, 1, "--client-ca"},
		"beside a live Flight Control": {
			[]string{"ROLLCALL_FLIGHTCTL_SERVER=https://api.example.com"},
			loopback, 1,
			"ROLLCALL_FLIGHTCTL_SERVER is set, so a live Flight Control answers the agents",
		},
		"no such file": {nil, []string{"--cert", "no.crt", "--key", "no.key", "--client-ca", "ca.crt"}, 1, "no.crt"},
		"a key alone":  {nil, append([]string{"--ca-key", "ca.key"}, loopback...), 1, "--ca-cert"},
		"no such key":  {nil, append([]string{"--ca-key", "no.key", "--ca-cert", "no.crt"}, loopback...), 1, "no.crt"},
		"valid for no day": {
			nil, append([]string{"--ca-key", "no.key", "--ca-cert", "no.crt", "--cert-days", "0"}, loopback...), 1,
			"--cert-days 0",
		},
		"no rate": {
			[]string{"ROLLCALL_GATEWAY_REQUESTS_PER_MINUTE=x"},
			loopback, 1,
			"ROLLCALL_GATEWAY_REQUESTS_PER_MINUTE",
		},
		"no lifetime": {nil, append([]string{"--request-ttl", "0s"}, loopback...), 1, "--request-ttl"},
		"no database": {[]string{"ROLLCALL_DATABASE_URL="}, loopback, 1, "ROLLCALL_DATABASE_URL is not set"},
		"no schema":   {[]string{"ROLLCALL_DATABASE_URL=" + devtest.EmptyDatabase(t)}, loopback, 1, "starter migrate"},
		"not on loopback": {
			[]string{"ROLLCALL_DATABASE_URL=" + devtest.Database(t)},
			[]string{"--plain-http", "--listen", ":0"},
			1,
			"anyone could speak",
		},
		"no such org": {
			[]string{"ROLLCALL_DATABASE_URL=" + devtest.Database(t)}, append([]string{"--org", "acme"}, loopback...), 1, "acme",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, out := gateway(t, tc.env, tc.args...)
			var exit *exec.ExitError
			require.ErrorAs(t, cmd.Run(), &exit)
			require.Equal(t, tc.code, exit.ExitCode(), out)
			require.Contains(t, out.String(), tc.says)
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	cmd, out := gateway(t, nil, "--version")
	require.NoError(t, cmd.Run())
	require.Regexp(t, `^gateway \S+ \(commit .+, of .+, go1`, out.String())
}

func TestSaysThatItSignsNothing(t *testing.T) {
	t.Parallel()
	cmd, out := gateway(t, []string{"ROLLCALL_DATABASE_URL=" + devtest.Database(t), "TEMPORAL_ADDRESS=127.0.0.1:1"},
		"--plain-http", "--listen", "127.0.0.1:0")
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		return strings.Contains(out.String(), "are not signed here")
	}, time.Minute, 20*time.Millisecond, out)
	require.Contains(t, out.String(), "signs=false")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), out)
}
