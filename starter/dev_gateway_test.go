package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

// TestAnAgentComesBackThroughTheGatewayOfDev is what the README shows with curl.
func TestAnAgentComesBackThroughTheGatewayOfDev(t *testing.T) {
	t.Parallel()
	dir := passableDir(t)
	dev := startDev(t, dir)
	env := map[string]string{}
	vars, err := devenv.ReadEnv(filepath.Join(dir, devenv.DefaultDir, devenv.EnvFile))
	require.NoError(t, err)
	for _, v := range vars {
		env[v.Name] = v.Value
	}
	backup := filepath.Join(dir, "backup.yaml")
	require.NoError(t, os.WriteFile(backup, []byte(device{name: "web-7", version: "5"}.document()), 0o600))
	runProgram(t, dir, "import", "-f", backup)
	runProgram(t, dir, "restore", "--id", "night")
	require.Contains(t, runProgram(t, dir, "cert", "device", "web-7"), env[devstack.EnvGatewayURL])

	agent := agentOf(t, dir, env[devstack.EnvCACert], "web-7")
	var served inventory.Resource
	require.Eventually(t, func() bool { // as agents do: the roll call may still be starting
		answer, err := agent.Get(env[devstack.EnvGatewayURL] + "/api/v1/devices/web-7/rendered?knownRenderedVersion=4")
		require.NoError(t, err)
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK && json.NewDecoder(answer.Body).Decode(&served) == nil
	}, devStartLimit, 50*time.Millisecond, "it is behind the backup, so that it is let back and served")
	require.Equal(t, "6", served.Metadata.Annotations[runbook.AnnotationRenderedVersion])
	require.Contains(t, runProgram(t, dir, "status", "-o", "json"), `"Normal": 1`)

	// One that the backup never knew enrolls, with the certificate that all newcomers share.
	require.Contains(t, runProgram(t, dir, "cert", "enrollment"), env[devstack.EnvGatewayURL])
	newcomer := agentOf(t, dir, env[devstack.EnvCACert], "client-enrollment")
	body, err := json.Marshal(map[string]any{
		"apiVersion": inventory.APIVersion, "kind": inventory.KindEnrollmentRequest,
		"metadata": map[string]string{"name": "web-8"},
		"spec":     map[string]string{"csr": csr(t, "web-8")},
	})
	require.NoError(t, err)
	answer, err := newcomer.Post(env[devstack.EnvGatewayURL]+"/api/v1/enrollmentrequests", "application/json",
		bytes.NewReader(body))
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusCreated, answer.StatusCode)
	require.Contains(t, runProgram(t, dir, "approve", "enrollmentrequests", "--all"), "enrollmentrequest/web-8: approved")
	answer, err = newcomer.Get(env[devstack.EnvGatewayURL] + "/api/v1/enrollmentrequests/web-8")
	require.NoError(t, err)
	defer answer.Body.Close()
	var request struct{ Status struct{ Certificate string } }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&request))
	require.Contains(t, request.Status.Certificate, "BEGIN CERTIFICATE")
	require.Equal(t, printer.ExitOK, dev.end(t, syscall.SIGTERM), dev.output)
}

// agentOf is an HTTP client with the certificate that `starter cert` has written.
func agentOf(t *testing.T, dir, caCert, name string) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	require.NoError(t, err)
	text, err := os.ReadFile(caCert)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(text))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: devStartLimit}
}
