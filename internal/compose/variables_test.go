package compose

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/contrib/envconfig"
)

// sources are the packages in which each program may read its environment.
var sources = map[string][]string{
	"starter": {"starter", "internal/host", "inventory", "internal/devenv"},
	"worker":  {"worker", "internal/program", "internal/host", "inventory"},
	"gateway": {"gateway", "internal/program", "internal/host", "inventory"},
}

// readByDriver are variables that the database driver reads; TestTheServicesRunAsTheyAreConfigured proves it.
var readByDriver = []string{"PGPASSWORD"}

func TestEveryVariableIsOneThatTheProgramReads(t *testing.T) {
	t.Parallel()
	for name, s := range ours(project(t)) {
		known := append(readByTemporal(t), readByDriver...)
		for _, dir := range sources[s.Command[0]] {
			known = append(known, readBy(t, dir)...)
		}
		for variable := range s.Environment {
			require.Contains(t, known, variable, "service %s sets it, and %s does not read it", name, s.Command[0])
		}
	}
}

func TestReadByFindsWhatAProgramReads(t *testing.T) {
	t.Parallel()
	require.Contains(t, readBy(t, "internal/program"), "ROLLCALL_METRICS_LISTEN")
	require.Contains(t, readBy(t, "internal/host"), "ROLLCALL_DATABASE_URL", "a setting that may be in a file")
	require.Contains(t, readBy(t, "starter"), "ROLLCALL_DATABASE_URL", "a constant")
	require.Contains(t, readByTemporal(t), "TEMPORAL_ADDRESS")
}

// recorder is an environment that notes which variables are asked for.
type recorder struct {
	mu    sync.Mutex
	asked []string
}

func (r *recorder) Environ() []string { return nil }

func (r *recorder) LookupEnv(name string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, name)
	return "", false
}

// readByTemporal is what the SDK's envconfig reads.
func readByTemporal(t *testing.T) []string {
	t.Helper()
	var r recorder
	_, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{DisableFile: true, EnvLookup: &r})
	require.NoError(t, err)
	return r.asked
}

// readBy finds the variables whose names stand, as a literal or a constant, in a call that reads the environment.
func readBy(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	require.NoError(t, err)
	below, err := filepath.Glob(filepath.Join(root, dir, "*", "*.go")) // packages below it hold its constants
	require.NoError(t, err)
	files = append(files, below...)
	var calls []ast.Expr
	constants := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				noteConstants(constants, n)
			case *ast.CallExpr:
				if readsEnvironment(n) {
					calls = append(calls, n.Args[len(n.Args)-1])
				}
			}
			return true
		})
	}
	var names []string
	for _, argument := range calls {
		switch a := argument.(type) {
		case *ast.BasicLit:
			names = append(names, unquote(a))
		case *ast.Ident:
			names = append(names, constants[a.Name])
		case *ast.SelectorExpr: // a constant of another package of ours
			names = append(names, constants[a.Sel.Name])
		}
	}
	return names
}

func readsEnvironment(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	if from, ok := f.X.(*ast.Ident); ok && from.Name == "settings" {
		return f.Sel.Name == "Read" // the variable's name comes last
	}
	// Env is the starter's own door to os.LookupEnv.
	return f.Sel.Name == "Getenv" || f.Sel.Name == "LookupEnv" || f.Sel.Name == "Env"
}

func noteConstants(constants map[string]string, spec *ast.ValueSpec) {
	for i, value := range spec.Values {
		if literal, ok := value.(*ast.BasicLit); ok {
			constants[spec.Names[i].Name] = unquote(literal)
		}
	}
}

func unquote(literal *ast.BasicLit) string {
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return fmt.Sprint(literal.Value)
	}
	return text
}
