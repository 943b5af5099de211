package reference_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/reference"
)

// TestHTTPAPI writes the page of the gateway's HTTP API from its routes. The answers of a route are those that the
// functions make which it can reach.
func TestHTTPAPI(t *testing.T) {
	t.Parallel()
	p := parseGateway(t)
	page := `# HTTP API of the gateway

The gateway answers Flight Control's agents over mutual TLS. Errors are Kubernetes ` + "`Status`" + ` objects with ` +
		"`code`" + ` and ` + "`message`" + `;
… stands for what differs. A 503 carries ` + "`Retry-After`" + `.
`
	routes := p.routes(t)
	require.Greater(t, len(routes), 6)
	for _, r := range routes {
		page += fmt.Sprintf("\n## %s %s\n\n%s\n\n| status | text |\n|---|---|\n", r.method, r.path, p.doc(r.handler))
		page += strings.Join(p.answers(r.handler, r.wrapper), "")
	}
	page += "\n## Other paths\n\n| path | status | text |\n|---|---|---|\n" + strings.Join(p.others(), "")
	require.Contains(t, page, `| 404 | Device of name "…" not found |`)
	require.Contains(t, page, "| 204 |")
	require.Contains(t, page, "the roll call cannot be reached now; try again", "it is passed through two functions")
	require.NoError(t, reference.Check("http-api.md", page))
}

// gatewayPackage is the source of the gateway's handlers. Its imports are not resolved: only its own functions count.
type gatewayPackage struct {
	info  types.Info
	funcs map[types.Object]*ast.FuncDecl
	// passes are the functions that make an answer with this status of a text that is their parameter.
	passes map[types.Object]int
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not read", path)
}

func parseGateway(t *testing.T) *gatewayPackage {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range sources(t, "gateway/agentapi") {
		if filepath.Base(filepath.Dir(path)) != "agentapi" {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	p := &gatewayPackage{
		info:   types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}},
		funcs:  map[types.Object]*ast.FuncDecl{},
		passes: map[types.Object]int{},
	}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = config.Check("agentapi", fset, files, &p.info) // it complains of each import
	for _, file := range files {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				p.funcs[p.info.Defs[f.Name]] = f
			}
		}
	}
	for again := true; again; {
		again = false
		for object, f := range p.funcs {
			if _, known := p.passes[object]; known {
				continue
			}
			if code := p.passed(f); code != 0 {
				p.passes[object], again = code, true
			}
		}
	}
	return p
}

type route struct {
	method, path     string
	handler, wrapper types.Object
}

// routes are the calls of mux.Handle with a method, in their order.
func (p *gatewayPackage) routes(t *testing.T) (all []route) {
	t.Helper()
	for _, handle := range p.handles() {
		path := literal(handle.Args[0])
		wrap, ok := handle.Args[1].(*ast.CallExpr)
		if path == "" || !ok {
			continue
		}
		wrapper := p.object(wrap.Fun)
		var methods []string
		ast.Inspect(wrap, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			if name := httpName(e, "Method"); name != "" {
				methods = append(methods, strings.ToUpper(name))
				return false
			}
			if object := p.object(e); object != nil && object != wrapper && p.funcs[object] != nil && len(methods) > 0 {
				all = append(all, route{methods[len(methods)-1], path, object, wrapper})
				return false
			}
			return true
		})
	}
	return all
}

// handles are the calls of mux.Handle.
func (p *gatewayPackage) handles() (calls []*ast.CallExpr) {
	for _, f := range p.funcs {
		if f.Name.Name != "handler" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Handle" && len(call.Args) == 2 {
				calls = append(calls, call)
			}
			return true
		})
	}
	return calls
}

// others are the rows of paths that always get the same answer. A path that is a variable is one of those that its loop
// goes through.
func (p *gatewayPackage) others() (rows []string) {
	for _, handle := range p.handles() {
		found := map[string]bool{}
		p.collect(handle.Args[1], found)
		if len(found) != 1 {
			continue
		}
		paths := []string{literal(handle.Args[0])}
		if name, ok := handle.Args[0].(*ast.Ident); ok {
			paths = p.looped(name)
		}
		for _, path := range paths {
			for row := range found {
				rows = append(rows, "| `"+path+"` "+row)
			}
		}
	}
	return rows
}

func (p *gatewayPackage) looped(name *ast.Ident) (values []string) {
	for _, f := range p.funcs {
		ast.Inspect(f, func(n ast.Node) bool {
			loop, ok := n.(*ast.RangeStmt)
			if !ok || loop.Value == nil {
				return true
			}
			if v, ok := loop.Value.(*ast.Ident); ok && p.info.Defs[v] != nil && p.info.Defs[v] == p.info.Uses[name] {
				if list, ok := loop.X.(*ast.CompositeLit); ok {
					for _, e := range list.Elts {
						values = append(values, literal(e))
					}
				}
			}
			return true
		})
	}
	return values
}

// doc is a handler's comment without its name.
func (p *gatewayPackage) doc(handler types.Object) string {
	text := strings.TrimSpace(strings.TrimPrefix(p.funcs[handler].Doc.Text(), handler.Name()))
	return strings.ToUpper(text[:1]) + text[1:]
}

// answers are the rows of all answers that functions make which can be reached from these.
func (p *gatewayPackage) answers(from ...types.Object) []string {
	found, seen := map[string]bool{}, map[types.Object]bool{}
	for len(from) > 0 {
		object := from[0]
		from = from[1:]
		f := p.funcs[object]
		if f == nil || seen[object] || f.Body == nil {
			continue
		}
		seen[object] = true
		p.collect(f.Body, found)
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				from = append(from, p.object(e))
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}

// collect adds the rows of the answers that a piece of code makes itself.
func (p *gatewayPackage) collect(code ast.Node, rows map[string]bool) {
	add := func(status int, format string, args ...ast.Expr) {
		if status != 0 && format != "" {
			rows[fmt.Sprintf("| %d | %s |\n", status, p.shown(format, args))] = true
		}
	}
	ast.Inspect(code, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			status, message := problemOf(n)
			add(status, literal(message))
		case *ast.CallExpr:
			name, args := calledName(n), n.Args
			switch {
			case name == "writeJSON" && len(args) > 1:
				add(statusOf(args[1]), "the resource")
			case name == "WriteHeader" && len(args) == 1:
				add(statusOf(args[0]), "no body")
			case name == "problemf" && literal(args[1]) == "%s":
				add(statusOf(args[0]), "the refusal's own text")
			case name == "problemf":
				add(statusOf(args[0]), literal(args[1]), args[2:]...)
			case name == "invalid":
				add(http.StatusBadRequest, literal(args[0]), args[1:]...)
			case name == "Refuse":
				add(http.StatusBadRequest, literal(args[1]), args[2:]...)
			default:
				for _, arg := range args {
					add(p.passes[p.object(n.Fun)], literal(arg))
				}
			}
		}
		return true
	})
}

// passed is the status of the answer that a function makes of a text that is its parameter; 0 where it makes none.
func (p *gatewayPackage) passed(f *ast.FuncDecl) (status int) {
	parameter := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		if !ok || p.info.Uses[id] == nil {
			return false
		}
		at := p.info.Uses[id].Pos()
		return f.Type.Params.Pos() <= at && at < f.Type.Params.End() && id.Name == "message"
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if code, message := problemOf(n); code != 0 && parameter(message) {
				status = code
			}
		case *ast.CallExpr:
			if code := p.passes[p.object(n.Fun)]; code != 0 && slices.ContainsFunc(n.Args, parameter) {
				status = code
			}
		}
		return true
	})
	return status
}

// object is what an expression names: a function, or a method of a value.
func (p *gatewayPackage) object(e ast.Expr) types.Object {
	switch e := e.(type) {
	case *ast.Ident:
		return p.info.Uses[e]
	case *ast.SelectorExpr:
		if object := p.info.Uses[e.Sel]; object != nil {
			return object
		}
		return p.named(e.Sel.Name)
	}
	return nil
}

// named is the only function or method of that name; nil where there are several. What stands beside an import that was
// not read is known by its name only.
func (p *gatewayPackage) named(name string) (found types.Object) {
	for object, f := range p.funcs {
		if f.Name.Name != name {
			continue
		}
		if found != nil {
			return nil
		}
		found = object
	}
	return found
}

func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// problemOf reads problem{code: …, message: …}.
func problemOf(c *ast.CompositeLit) (status int, message ast.Expr) {
	if id, ok := c.Type.(*ast.Ident); !ok || id.Name != "problem" {
		return 0, nil
	}
	for _, e := range c.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			switch fmt.Sprint(pair.Key) {
			case "code":
				status = statusOf(pair.Value)
			case "message":
				message = pair.Value
			}
		}
	}
	return status, message
}

// httpName is the rest of a name such as http.MethodGet behind the prefix.
func httpName(e ast.Expr, prefix string) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || fmt.Sprint(s.X) != "http" {
		return ""
	}
	name, ok := strings.CutPrefix(s.Sel.Name, prefix)
	if !ok {
		return ""
	}
	return name
}

// statusOf is the number of http.StatusX, found by its text.
func statusOf(e ast.Expr) int {
	name := httpName(e, "Status")
	if name == "" {
		return 0
	}
	for code := 100; code < 600; code++ {
		if strings.EqualFold(name, regexp.MustCompile(`[^A-Za-z]`).ReplaceAllString(http.StatusText(code), "")) {
			return code
		}
	}
	return 0
}

var verb = regexp.MustCompile(`%[sdqv]`)

// shown is a format with its constants put in, and an ellipsis for everything else.
func (p *gatewayPackage) shown(format string, args []ast.Expr) string {
	n := -1
	return verb.ReplaceAllStringFunc(format, func(verb string) string {
		n++
		if n < len(args) {
			if c, ok := p.object(args[n]).(*types.Const); ok && c.Val().Kind() == constant.String {
				return constant.StringVal(c.Val())
			}
		}
		if verb == "%q" {
			return `"…"`
		}
		return "…"
	})
}
