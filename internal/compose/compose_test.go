// Package compose checks docker-compose.yml and Dockerfile without a container engine: what they set is what the
// programs read, and what they run exists.
package compose

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
)

func TestMain(m *testing.M) { devtest.Main(m) }

const root = "../.."

// password cannot stand in a URL unescaped.
const password = "s:3/c@r?e#t%"

func load(ctx context.Context, environment ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")}, cli.WithEnv(environment),
		cli.WithProfiles([]string{"gateway"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(t.Context(), "POSTGRES_PASSWORD="+password)
	require.NoError(t, err)
	return p
}

// ours are the services built from this repository.
func ours(p *types.Project) types.Services {
	services := types.Services{}
	for name, s := range p.Services {
		if s.Build != nil {
			services[name] = s
		}
	}
	return services
}

func TestItHasTheServicesOfTheContract(t *testing.T) {
	t.Parallel()
	p := project(t)
	require.ElementsMatch(t, []string{"postgresql", "temporal", "migrate", "worker", "gateway"}, p.ServiceNames())
	require.Len(t, ours(p), 3)
}

func TestNothingIsPublishedBeyondTheMachine(t *testing.T) {
	t.Parallel()
	for name, s := range project(t).Services {
		require.NotEqual(t, "host", s.NetworkMode, name)
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s publishes %s", name, port.Published)
		}
	}
}

func TestEveryServiceThatStaysHasAHealthCheck(t *testing.T) {
	t.Parallel()
	for name, s := range project(t).Services {
		if s.Restart == "" {
			continue // runs once
		}
		require.NotNil(t, s.HealthCheck, name)
		require.NotEmpty(t, s.HealthCheck.Test, name)
		require.False(t, s.HealthCheck.Disable, name)
	}
}

func TestEveryServiceHasLimits(t *testing.T) {
	t.Parallel()
	for name, s := range project(t).Services {
		require.Positive(t, s.MemLimit, name)
		require.Positive(t, s.PidsLimit, name)
	}
	for name, s := range ours(project(t)) {
		require.True(t, s.ReadOnly, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
	}
}

func TestServicesWaitForWhatTheyNeed(t *testing.T) {
	t.Parallel()
	p := project(t)
	require.Equal(t, types.ServiceConditionHealthy, p.Services["migrate"].DependsOn["postgresql"].Condition)
	for _, name := range []string{"worker", "gateway"} {
		require.Equal(t, types.ServiceConditionCompletedSuccessfully, p.Services[name].DependsOn["migrate"].Condition)
		require.Equal(t, types.ServiceConditionHealthy, p.Services[name].DependsOn["temporal"].Condition)
		require.Equal(t, types.ServiceConditionHealthy, p.Services[name].DependsOn["postgresql"].Condition)
	}
}

func TestThePasswordMustBeGiven(t *testing.T) {
	t.Parallel()
	for _, environment := range [][]string{nil, {"POSTGRES_PASSWORD="}} {
		_, err := load(t.Context(), environment...)
		require.ErrorContains(t, err, "set POSTGRES_PASSWORD in .env or in the environment")
	}
}

var (
	secretName    = regexp.MustCompile(`(?i)passw|secret|token|_key|_pwd`)
	passwordInURL = regexp.MustCompile(`://[^/\s:@]+:[^/\s@]+@`)
)

func TestNoSecretIsInTheFile(t *testing.T) {
	t.Parallel()
	for name, s := range project(t).Services {
		for variable, value := range s.Environment {
			require.NotNil(t, value, "%s takes %s from wherever it is started", name, variable)
			if secretName.MatchString(variable) && !strings.HasPrefix(*value, "/pki/") {
				require.Equal(t, password, *value, "%s sets %s", name, variable)
			}
			require.NotRegexp(t, passwordInURL, *value, "%s sets %s", name, variable)
		}
	}
	for _, file := range []string{"docker-compose.yml", "Dockerfile"} {
		require.NotRegexp(t, passwordInURL, read(t, file))
	}
	require.Contains(t, lines(t, ".gitignore"), ".env")
	require.Contains(t, lines(t, ".dockerignore"), ".env")
}

// The image must be able to build what go.mod asks for, and must hold the programs that the services run.
func TestTheImageIsBuiltFromThisModule(t *testing.T) {
	t.Parallel()
	dockerfile := read(t, "Dockerfile")
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	require.Contains(t, dockerfile, "FROM golang:"+language[1]+" AS build")
	require.Contains(t, dockerfile, "USER 65532:65532")
	require.NotContains(t, dockerfile, "debug", "the image has no shell")
	for name, s := range ours(project(t)) {
		require.Contains(t, dockerfile, "./"+s.Command[0], name)
		require.Contains(t, dockerfile, "/out/"+s.Command[0], name)
	}
}

// What runs in the container is what development and tests run.
func TestTemporalIsTheVersionOfTheTools(t *testing.T) {
	t.Parallel()
	version := regexp.MustCompile(`github.com/temporalio/cli v(\S+)`).FindStringSubmatch(read(t, "tools/temporal/go.mod"))
	require.Equal(t, "temporalio/temporal:"+version[1], project(t).Services["temporal"].Image)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	return string(text)
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	return strings.Split(read(t, file), "\n")
}
