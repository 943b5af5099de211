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

// rule says what a package may import beside the standard library; "*" stands for anything, and an entry for the packages
// below it, too.
type rule struct {
	ours   []string
	others []string
	// notStd are packages of the standard library that it must do without.
	notStd []string
}

// rules are for what the program consists of. A package without one is bound by the rules for all only.
var rules = map[string]rule{
	"runbook":    {notStd: []string{"net", "os", "database", "io", "log", "syscall"}},
	"inventory":  {ours: []string{"runbook", "authority"}, others: []string{"*"}},
	"enrollment": {ours: []string{"runbook"}, others: []string{"go.temporal.io"}},
	"activities": {ours: []string{"runbook", "inventory", "enrollment"}, others: []string{"go.temporal.io"}},
	"workflows":  {ours: []string{"runbook", "activities"}, others: []string{"go.temporal.io"}, notStd: []string{"net", "os", "database", "math/rand"}},
	"host":       {ours: []string{"runbook", "inventory", "activities", "workflows"}, others: []string{"*"}},
	"authority":  {notStd: []string{"net/http", "database"}},
	"devenv":     {others: []string{"*"}},
	"simulator":  {ours: []string{"authority"}, others: []string{"*"}},

	"gateway":          {ours: []string{"runbook", "inventory", "authority", "host", "devenv"}, others: []string{"*"}},
	"gateway/agentapi": {ours: []string{"runbook", "inventory", "authority", "enrollment"}, others: []string{"*"}},
}

// onlyFrom names packages that few or none may import. Tests of any package may import what somebody may, and the helpers
// for tests.
var onlyFrom = map[string][]string{
	"starter":          {},
	"worker":           {},
	"gateway":          {},
	"gateway/agentapi": {"gateway", "starter", "bench"}, // starter dev runs it inside
	"workflows":        {"host"},
	"bench":            {},
	"simulator":        {"starter", "bench"},
	"devenv":           {"starter", "worker", "gateway", "bench", "devenv/devtest"},
	"devenv/devtest":   {},
}

func TestArrowsPointTowardsTheRunbook(t *testing.T) {
	t.Parallel()
	var found, wrong []string
	for _, p := range list(t) {
		found = append(found, p.ImportPath)
		wrong = append(wrong, complaints(p)...)
	}
	require.Contains(t, found, "rollcall/runbook")
	require.Contains(t, found, "rollcall/devenv/devtest")
	require.Empty(t, wrong)
}

func TestAWrongArrowIsSeen(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]*build.Package{
		"runbook must do without os":                                {ImportPath: "rollcall/runbook", Imports: []string{"fmt", "os"}},
		"runbook must do without net":                               {ImportPath: "rollcall/runbook", Imports: []string{"net/http"}},
		"runbook must not import github.com/google/uuid":            {ImportPath: "rollcall/runbook", Imports: []string{"github.com/google/uuid"}},
		"inventory must not import rollcall/activities":             {ImportPath: "rollcall/inventory", Imports: []string{"rollcall/activities"}},
		"workflows must not import rollcall/inventory":              {ImportPath: "rollcall/workflows", Imports: []string{"rollcall/inventory"}},
		"workflows must not import github.com/jmoiron/sqlx":         {ImportPath: "rollcall/workflows", Imports: []string{"github.com/jmoiron/sqlx"}},
		"host must not import rollcall/starter":                     {ImportPath: "rollcall/host", Imports: []string{"rollcall/starter"}},
		"rollcall/devenv is not for x":                              {ImportPath: "rollcall/x", Imports: []string{"rollcall/devenv"}},
		"rollcall/devenv/devtest is not for starter":                {ImportPath: "rollcall/starter", Imports: []string{"rollcall/devenv/devtest"}},
		"rollcall/starter is not for the tests of x":                {ImportPath: "rollcall/x", XTestImports: []string{"rollcall/starter"}},
		"workflows/fixtures must not import rollcall/devenv":        {ImportPath: "rollcall/workflows/fixtures", Imports: []string{"rollcall/devenv"}},
		"rollcall/gateway/pages is not for inventory":               {ImportPath: "rollcall/inventory", Imports: []string{"rollcall/gateway/pages"}},
		"rollcall/gateway/agentapi is not for host":                 {ImportPath: "rollcall/host", Imports: []string{"rollcall/gateway/agentapi"}},
		"rollcall/gateway is not for starter":                       {ImportPath: "rollcall/starter", Imports: []string{"rollcall/gateway"}},
		"gateway/agentapi must not import rollcall/host":            {ImportPath: "rollcall/gateway/agentapi", Imports: []string{"rollcall/host"}},
		"workflows must do without math/rand":                       {ImportPath: "rollcall/workflows", Imports: []string{"math/rand/v2"}},
		"activities must not import github.com/prometheus/whatever": {ImportPath: "rollcall/activities", Imports: []string{"github.com/prometheus/whatever"}},
	} {
		require.Contains(t, strings.Join(complaints(p), "\n"), want)
	}
	require.Empty(t, complaints(&build.Package{
		ImportPath: "rollcall/workflows", Imports: []string{"fmt", "rollcall/runbook", "rollcall/activities", "go.temporal.io/sdk/workflow"},
		TestImports: []string{"os"}, XTestImports: []string{"rollcall/devenv/devtest", "rollcall/inventory"},
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
		if from, ok := restricted(name, imported); ok && len(from) == 0 && !strings.HasPrefix(imported, module+"devenv/") {
			wrong = append(wrong, fmt.Sprintf("%s is not for the tests of %s", imported, name))
		}
	}
	return wrong
}

// ruleFor finds the rule of a package, or of the nearest one above it; helpers for tests have none.
func ruleFor(name string) (rule, bool) {
	for ; name != "." && name != "devenv/devtest"; name = path.Dir(name) {
		if r, ok := rules[name]; ok {
			return r, true
		}
	}
	return rule{}, false
}

func (r rule) complaint(name, imported string) []string {
	ours, isOurs := strings.CutPrefix(imported, module)
	switch {
	case isOurs && (below(r.ours, ours) || below([]string{strings.Split(name, "/")[0]}, ours)):
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

// below tells whether name is one of these, or below one of them in the tree.
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

func notOurs(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	name := filepath.Base(dir)
	return err == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}
