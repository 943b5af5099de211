// Package arrows holds the program to its picture: runbook in the middle, and every arrow pointing towards it.
package arrows

import (
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "rollcall/"

// rule says what a package may import beside the standard library; "*" stands for anything, and an entry for the
// packages below it, too.
type rule struct {
	ours   []string
	others []string
	// notStd are packages of the standard library that it must do without.
	notStd []string
	// alone forbids the other packages of the same tree, which a package may import otherwise.
	alone bool
}

// rules are for what the program consists of. A package without one is bound by the rules for all only.
var rules = map[string]rule{
	"runbook":   {notStd: []string{"net", "os", "database", "io", "log", "syscall"}},
	"inventory": {ours: []string{"runbook", "internal/authority", "internal/fault"}, others: []string{"*"}},
	"inventory/fleetfile": {
		ours: []string{"runbook", "internal/jsonbound"}, notStd: []string{"database", "net", "os"},
		others: []string{"github.com/go-json-experiment/json", "go.yaml.in/yaml", "k8s.io/apimachinery"}, alone: true,
	},
	"inventory/selector": {
		ours: []string{"runbook"}, others: []string{"github.com/lib/pq", "k8s.io/apimachinery"},
		alone: true,
	},
	"inventory/roles": {notStd: []string{"net", "os"}, alone: true},
	"inventory/decisions": {
		ours: []string{"runbook"}, others: []string{"github.com/jmoiron/sqlx", "github.com/lib/pq"},
		alone: true,
	},
	"inventory/credentials": {ours: []string{"runbook"}, others: []string{"github.com/jmoiron/sqlx"}, alone: true},
	"inventory/posts":       {ours: []string{"runbook"}, others: []string{"github.com/jmoiron/sqlx"}, alone: true},
	"inventory/known": {
		ours: []string{"runbook"}, others: []string{"github.com/jmoiron/sqlx", "github.com/lib/pq"},
		alone: true,
	},
	"inventory/pgdial":    {others: []string{"github.com/lib/pq", "golang.org/x/sys"}, alone: true},
	"internal/enrollment": {ours: []string{"runbook"}, others: []string{"go.temporal.io"}},
	"activities": {
		ours:   []string{"runbook", "inventory", "internal/enrollment"},
		others: []string{"go.temporal.io", "golang.org/x/sync", "github.com/google/uuid", "google.golang.org/grpc"},
	},
	"workflows": {
		ours: []string{"runbook", "activities"}, others: []string{"go.temporal.io"},
		notStd: []string{"net", "os", "database", "math/rand"},
	},
	"internal/jsonbound": {
		others: []string{"github.com/go-json-experiment/json"},
		notStd: []string{"database", "net", "os"},
	},
	"internal/settings": {},
	"internal/fault":    {},
	"internal/version":  {},
	"internal/host": {ours: []string{
		"runbook", "inventory", "activities", "workflows", "internal/fault",
		"internal/settings",
	}, others: []string{"*"}},
	"internal/program": {
		ours:   []string{"inventory", "internal/host", "internal/version"},
		others: []string{"go.temporal.io"},
	},
	"inventory/inspect":  {others: []string{"github.com/jmoiron/sqlx", "github.com/lib/pq"}, alone: true},
	"internal/preflight": {ours: []string{"runbook", "inventory", "flightctl"}, others: []string{"go.temporal.io"}},
	"worker": {ours: []string{
		"runbook", "activities", "flightctl", "internal/preflight", "internal/host",
		"internal/program",
	}},
	"internal/authority": {notStd: []string{"net/http", "database"}},
	"flightctl":          {ours: []string{"runbook"}, others: []string{"*"}, notStd: []string{"database"}},
	"flightctl/fake":     {ours: []string{"runbook", "internal/authority"}, others: []string{"*"}},
	"internal/devenv":    {others: []string{"*"}},
	"simulator":          {ours: []string{"internal/authority"}, others: []string{"*"}},

	"starter/printer": {ours: []string{"runbook", "inventory", "simulator", "internal/host"}, others: []string{"*"}},
	"starter/ask":     {ours: []string{"runbook", "inventory", "starter/printer"}, others: []string{"*"}},
	"starter/review":  {ours: []string{"runbook", "inventory", "starter/printer"}, others: []string{"*"}},
	"starter/demo": {ours: []string{
		"runbook", "inventory", "simulator", "internal/authority", "starter/ask",
		"starter/printer",
	}, others: []string{"*"}},
	"starter/devstack": {ours: []string{
		"runbook", "inventory", "simulator", "internal/authority", "internal/devenv",
		"internal/host", "gateway/agentapi", "flightctl", "starter/demo", "starter/printer",
	}, others: []string{"*"}},

	"gateway": {
		ours:   []string{"runbook", "inventory", "internal/authority", "internal/host", "internal/program"},
		others: []string{"*"},
	},
	"gateway/limits": {others: []string{"golang.org/x/time"}, alone: true},
	"gateway/agentapi": {ours: []string{
		"runbook", "inventory", "internal/authority", "internal/enrollment",
		"internal/jsonbound",
	}, others: []string{"*"}},
}

// onlyFrom names packages that few or none may import. Tests of any package may import what someone may, and the
// helpers for tests.
var onlyFrom = map[string][]string{
	"starter":                 {},
	"worker":                  {},
	"gateway":                 {},
	"gateway/agentapi":        {"gateway", "starter", "bench"}, // starter dev runs it inside
	"workflows":               {"internal/host"},
	"bench":                   {},
	"flightctl/fake":          {"starter", "internal/faults"}, // starter dev runs it
	"simulator":               {"starter", "bench"},
	"inventory/fleetfile":     {"inventory"},
	"inventory/decisions":     {"activities"},
	"inventory/inspect":       {"internal/preflight"},
	"inventory/known":         {"activities", "inventory"},
	"inventory/credentials":   {"inventory", "gateway/agentapi", "starter"},
	"inventory/pgdial":        {"inventory"},
	"inventory/posts":         {"inventory", "gateway/agentapi"},
	"internal/preflight":      {"starter", "worker"},
	"inventory/roles":         {"inventory", "starter", "internal/faults"},
	"inventory/selector":      {"inventory", "starter", "bench"},
	"internal/jsonbound":      {"inventory", "gateway/agentapi"},
	"internal/devenv":         {"starter", "bench", "internal/devenv/devtest", "internal/faults"},
	"internal/faults":         {},
	"internal/program":        {"worker", "gateway"},
	"internal/reference":      {"internal/reference"}, // for tests of programs
	"internal/devenv/devtest": {},
}

func TestArrowsPointTowardsTheRunbook(t *testing.T) {
	t.Parallel()
	var found, wrong []string
	for _, p := range list(t) {
		found = append(found, p.ImportPath)
		wrong = append(wrong, complaints(p)...)
	}
	require.Contains(t, found, "rollcall/runbook")
	require.Contains(t, found, "rollcall/internal/devenv/devtest")
	require.Contains(t, found, "rollcall/bench/report")
	require.Empty(t, wrong)
}

// mostFiles is how many source files, tests left out, a folder may hold: one screen of names.
const mostFiles = 25

func TestFoldersAreSmall(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		files := len(p.GoFiles) + len(p.IgnoredGoFiles) + len(p.CgoFiles)
		require.LessOrEqual(t, files, mostFiles, "split %s by story", name)
	}
}

func TestAWrongArrowIsSeen(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]*build.Package{
		"runbook must do without os": {
			ImportPath: "rollcall/runbook",
			Imports:    []string{"fmt", "os"},
		},
		"runbook must do without net": {
			ImportPath: "rollcall/runbook",
			Imports:    []string{"net/http"},
		},
		"runbook must not import github.com/google/uuid": {
			ImportPath: "rollcall/runbook",
			Imports:    []string{"github.com/google/uuid"},
		},
		"inventory must not import rollcall/activities": {
			ImportPath: "rollcall/inventory",
			Imports:    []string{"rollcall/activities"},
		},
		"inventory/fleetfile must not import rollcall/inventory": {
			ImportPath: "rollcall/inventory/fleetfile",
			Imports:    []string{"rollcall/inventory"},
		},
		"inventory/fleetfile must do without database": {
			ImportPath: "rollcall/inventory/fleetfile",
			Imports:    []string{"database/sql"},
		},
		"inventory/selector must not import rollcall/inventory/pgdial": {
			ImportPath: "rollcall/inventory/selector",
			Imports:    []string{"rollcall/inventory/pgdial"},
		},
		"rollcall/inventory/fleetfile is not for workflows": {
			ImportPath: "rollcall/workflows",
			Imports:    []string{"rollcall/inventory/fleetfile"},
		},
		"workflows must not import rollcall/inventory": {
			ImportPath: "rollcall/workflows",
			Imports:    []string{"rollcall/inventory"},
		},
		"workflows must not import github.com/jmoiron/sqlx": {
			ImportPath: "rollcall/workflows",
			Imports:    []string{"github.com/jmoiron/sqlx"},
		},
		"internal/host must not import rollcall/starter": {
			ImportPath: "rollcall/internal/host",
			Imports:    []string{"rollcall/starter"},
		},
		"rollcall/internal/devenv is not for x": {
			ImportPath: "rollcall/x",
			Imports:    []string{"rollcall/internal/devenv"},
		},
		"rollcall/internal/devenv/devtest is not for starter": {
			ImportPath: "rollcall/starter",
			Imports:    []string{"rollcall/internal/devenv/devtest"},
		},
		"rollcall/starter is not for the tests of x": {
			ImportPath:   "rollcall/x",
			XTestImports: []string{"rollcall/starter"},
		},
		"workflows/fixtures must not import rollcall/internal/devenv": {
			ImportPath: "rollcall/workflows/fixtures",
			Imports:    []string{"rollcall/internal/devenv"},
		},
		"rollcall/gateway/pages is not for inventory": {
			ImportPath: "rollcall/inventory",
			Imports:    []string{"rollcall/gateway/pages"},
		},
		"rollcall/gateway/agentapi is not for internal/host": {
			ImportPath: "rollcall/internal/host",
			Imports:    []string{"rollcall/gateway/agentapi"},
		},
		"rollcall/gateway is not for starter": {
			ImportPath: "rollcall/starter",
			Imports:    []string{"rollcall/gateway"},
		},
		"gateway/agentapi must not import rollcall/internal/host": {
			ImportPath: "rollcall/gateway/agentapi",
			Imports:    []string{"rollcall/internal/host"},
		},
		"internal/host must not import rollcall/internal/devenv": {
			ImportPath: "rollcall/internal/host",
			Imports:    []string{"rollcall/internal/devenv"},
		},
		"workflows must do without math/rand": {
			ImportPath: "rollcall/workflows",
			Imports:    []string{"math/rand/v2"},
		},
		"activities must not import github.com/prometheus/whatever": {
			ImportPath: "rollcall/activities",
			Imports:    []string{"github.com/prometheus/whatever"},
		},
		"starter/printer must not import rollcall/starter/demo": {
			ImportPath: "rollcall/starter/printer",
			Imports:    []string{"rollcall/starter/demo"},
		},
		"starter/demo must not import rollcall/starter/devstack": {
			ImportPath: "rollcall/starter/demo",
			Imports:    []string{"rollcall/starter/devstack"},
		},
	} {
		require.Contains(t, strings.Join(complaints(p), "\n"), want)
	}
	require.Empty(t, complaints(&build.Package{
		ImportPath:  "rollcall/workflows",
		Imports:     []string{"fmt", "rollcall/runbook", "rollcall/activities", "go.temporal.io/sdk/workflow"},
		TestImports: []string{"os"}, XTestImports: []string{"rollcall/internal/devenv/devtest", "rollcall/inventory"},
	}))
}

// complaints lists the imports of p that the rules forbid.
func complaints(p *build.Package) []string {
	var wrong []string
	name := strings.TrimPrefix(p.ImportPath, module)
	for _, imported := range p.Imports {
		if r, ok := ruleFor(name); ok {
			wrong = append(wrong, r.complaint(name, imported)...)
		}
		if from, ok := restricted(name, imported); ok && !below(from, name) {
			wrong = append(wrong, fmt.Sprintf("%s is not for %s", imported, name))
		}
	}
	for _, imported := range append(p.TestImports, p.XTestImports...) {
		if from, ok := restricted(name, imported); ok && len(from) == 0 &&
			!strings.HasPrefix(imported, module+"internal/devenv/") {
			wrong = append(wrong, fmt.Sprintf("%s is not for the tests of %s", imported, name))
		}
	}
	return wrong
}

// ruleFor finds the rule of a package, or of the nearest one above it; helpers for tests have none.
func ruleFor(name string) (rule, bool) {
	for ; name != "." && name != "internal/devenv/devtest"; name = path.Dir(name) {
		if r, ok := rules[name]; ok {
			return r, true
		}
	}
	return rule{}, false
}

func (r rule) complaint(name, imported string) []string {
	ours, isOurs := strings.CutPrefix(imported, module)
	switch {
	case isOurs && (below(r.ours, ours) || !r.alone && below([]string{tree(name)}, ours)):
	case isOurs, !isStd(imported) && !below(r.others, imported):
		return []string{fmt.Sprintf("%s must not import %s", name, imported)}
	case isStd(imported):
		for _, not := range r.notStd {
			if below([]string{not}, imported) {
				return []string{fmt.Sprintf("%s must do without %s", name, not)}
			}
		}
	}
	return nil
}

// tree is the top of the tree that a package belongs to: its first folder, or below internal and starter its first two.
func tree(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if (parts[0] == "internal" || parts[0] == "starter") && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

// restricted finds who may import a package of ours, if not everybody may; the package's own tree always may.
func restricted(name, imported string) (from []string, ok bool) {
	ours, isOurs := strings.CutPrefix(imported, module)
	if !isOurs {
		return nil, false
	}
	for at := ours; at != "."; at = path.Dir(at) {
		if from, ok := onlyFrom[at]; ok {
			return from, !below([]string{at}, name)
		}
	}
	return nil, false
}

// below reports whether name is one of these, or below one of them in the tree.
func below(these []string, name string) bool {
	for _, this := range these {
		if this == "*" || name == this || strings.HasPrefix(name, this+"/") {
			return true
		}
	}
	return false
}

func isStd(imported string) bool { return !strings.Contains(strings.Split(imported, "/")[0], ".") }

// list reads the sources itself: a test that asks `go list` is cached though the sources have changed.
func list(t *testing.T) []*build.Package {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	var pkgs []*build.Package
	err = filepath.WalkDir(root, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if dir != root && notOurs(dir) {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		var none *build.NoGoError
		if errors.As(err, &none) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read package in %s: %w", dir, err)
		}
		p.ImportPath = module + filepath.ToSlash(strings.TrimPrefix(dir, root+string(filepath.Separator)))
		pkgs = append(pkgs, p)
		return nil
	})
	require.NoError(t, err)
	return pkgs
}

// notOurs reports whether a folder holds no code of the program. Of the modules of their own, bench is under the rules:
// it imports what it measures.
func notOurs(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	name := filepath.Base(dir)
	return err == nil && name != "bench" || name == "testdata" || strings.HasPrefix(name, ".") ||
		strings.HasPrefix(name, "_")
}

// maxFiles is how many source files a folder may have, tests not counted, so that a listing of it can be read.
const maxFiles = 25

func TestNoFolderIsADrawer(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		files := len(p.GoFiles) + len(p.IgnoredGoFiles)
		require.LessOrEqual(t, files, maxFiles, "%s has too many source files: split it, or merge the small ones", name)
	}
}
