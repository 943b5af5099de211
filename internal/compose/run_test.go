package compose

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"rollcall/devenv"
	"rollcall/devenv/devtest"
)

// Both services run here with the command and the variables of the file; only the values that name hosts, ports and the
// password are those of this machine.
func TestTheServicesRunAsTheyAreConfigured(t *testing.T) {
	t.Parallel()
	bin := build(t)
	p := project(t)
	here := newMachine(t)

	migrate := here.command(t, bin, p.Services["migrate"])
	out, err := migrate.CombinedOutput()
	require.NoError(t, err, string(out))

	worker := here.command(t, bin, p.Services["worker"])
	worker.Stderr = os.Stderr
	require.NoError(t, worker.Start())
	t.Cleanup(func() { worker.Process.Kill() })
	probe := here.local(t, healthURL(t, p.Services["worker"]))
	require.Eventually(t, func() bool {
		answer, err := http.Get(probe)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "the worker does not become healthy")
	require.NoError(t, worker.Process.Signal(syscall.SIGTERM))
	require.NoError(t, worker.Wait())
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
	require.Error(t, exec.Command(temporal, "server", "start-dev", "--no-such-flag", "--help").Run(), "an unknown flag would be seen")
}

// build builds both programs; as the test itself is built, so that nothing is compiled twice.
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
	cmd := exec.Command("go", append(args, "./starter", "./worker")...)
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
}

func newMachine(t *testing.T) machine {
	t.Helper()
	database, err := url.Parse(devtest.EmptyDatabase(t))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return machine{database: database, temporal: devtest.EmptyTemporal(t), metrics: l.Addr().String()}
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
		return m.metrics
	}
	return value
}

// local turns an address inside the container into the one here.
func (m machine) local(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Host = m.metrics
	return u.String()
}

func healthURL(t *testing.T, s types.ServiceConfig) string {
	t.Helper()
	require.NotNil(t, s.HealthCheck)
	address := s.HealthCheck.Test[len(s.HealthCheck.Test)-1]
	u, err := url.Parse(address)
	require.NoError(t, err)
	require.Equal(t, ":"+u.Port(), *s.Environment["ROLLCALL_METRICS_LISTEN"], "the probe asks where the worker listens")
	return address
}
