package compose

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
)

// All services run here with the command and the variables of the file; only the values that name hosts, ports and the
// password are those of this machine.
func TestTheServicesRunAsTheyAreConfigured(t *testing.T) {
	t.Parallel()
	bin := build(t)
	p := project(t)
	here := newMachine(t)

	migrate := here.command(t, bin, p.Services["migrate"])
	out, err := migrate.CombinedOutput()
	require.NoError(t, err, string(out))

	for _, name := range []string{"worker", "gateway"} {
		service := here.command(t, bin, p.Services[name])
		service.Stderr = os.Stderr
		require.NoError(t, service.Start())
		t.Cleanup(func() { _ = service.Process.Kill() })
		require.Eventually(t, func() bool {
			return here.check(t, bin, p.Services[name]) == nil
		}, time.Minute, 200*time.Millisecond,
			"%s does not become healthy", name)
		require.NoError(t, service.Process.Signal(syscall.SIGTERM))
		require.NoError(t, service.Wait())
		require.Error(t, here.check(t, bin, p.Services[name]), "the check of a %s that has ended", name)
	}
}

// The commands and the health check of Temporal's image are those of the tool that we have here.
func TestTemporalKnowsItsFlags(t *testing.T) {
	t.Parallel()
	temporal, err := devenv.FindTemporal()
	require.NoError(t, err)
	s := project(t).Services["temporal"]
	require.NotNil(t, s.HealthCheck)
	require.Equal(t, "temporal", s.HealthCheck.Test[1])
	for _, args := range [][]string{s.Command, s.HealthCheck.Test[2:]} {
		out, err := exec.Command(temporal, append(args, "--help")...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	require.Error(t, exec.Command(temporal, "server", "start-dev", "--no-such-flag", "--help").Run(),
		"an unknown flag would be seen")
}

// build builds the programs; as the test itself is built, so that nothing is compiled twice.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir + "/"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" && setting.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	cmd := exec.Command("go", append(args, "./starter", "./worker", "./gateway")...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// machine is what stands in for the services of others.
type machine struct {
	database *url.URL
	temporal devtest.Server
	metrics  string
	pki      string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	database, err := url.Parse(devtest.EmptyDatabase(t))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	pki := t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(pki, "ca.crt"), filepath.Join(pki, "ca.key"))
	require.NoError(t, err)
	server, err := ca.Server([]string{"127.0.0.1"}, time.Hour)
	require.NoError(t, err)
	require.NoError(t, server.Write(filepath.Join(pki, "gateway.crt"), filepath.Join(pki, "gateway.key")))
	return machine{database: database, temporal: devtest.EmptyTemporal(t), metrics: l.Addr().String(), pki: pki}
}

func (m machine) command(t *testing.T, bin string, s types.ServiceConfig) *exec.Cmd {
	t.Helper()
	require.Empty(t, s.Entrypoint)
	cmd := exec.Command(filepath.Join(bin, s.Command[0]), s.Command[1:]...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir}
	for name, value := range s.Environment {
		cmd.Env = append(cmd.Env, name+"="+m.value(t, name, *value))
	}
	return cmd
}

func (m machine) value(t *testing.T, name, value string) string {
	t.Helper()
	switch name {
	case "ROLLCALL_DATABASE_URL":
		u, err := url.Parse(value)
		require.NoError(t, err)
		require.Equal(t, "postgresql:5432", u.Host, "the service's name and the port of its image")
		u.Host, u.Path, u.User = m.database.Host, m.database.Path, url.User(m.database.User.Username())
		return u.String()
	case "PGPASSWORD":
		secret, _ := m.database.User.Password()
		return secret
	case "TEMPORAL_ADDRESS":
		require.Equal(t, "temporal:7233", value, "the service's name and the port of its image")
		return m.temporal.Address
	case "TEMPORAL_NAMESPACE":
		return m.temporal.Namespace
	case "ROLLCALL_METRICS_LISTEN":
		require.Equal(t, ":9090", value)
		return m.metrics
	case "ROLLCALL_GATEWAY_LISTEN":
		require.Equal(t, ":7443", value)
		return "127.0.0.1:0"
	case "ROLLCALL_GATEWAY_CERT", "ROLLCALL_GATEWAY_KEY", "ROLLCALL_CA_CERT":
		require.Equal(t, "/pki", path.Dir(value), "the volume of the service")
		return filepath.Join(m.pki, path.Base(value))
	}
	return value
}

// check runs the health check of a service, which asks at the address of the service's own variables.
func (m machine) check(t *testing.T, bin string, s types.ServiceConfig) error {
	t.Helper()
	require.NotNil(t, s.HealthCheck)
	require.Equal(t, "CMD", s.HealthCheck.Test[0], "there is no shell")
	s.Command = types.ShellCommand(s.HealthCheck.Test[1:])
	return m.command(t, bin, s).Run()
}
