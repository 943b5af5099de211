package reference_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/reference"
)

const root = "../.."

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	page := "# Error codes\n\nA refusal has a code for scripts: in `-o json`, in answers of the gateway and " +
		"in the audit " +
		"(`rollcall.transitions`).\nCodes are promises.\n\n| code | meaning |\n|---|---|\n"
	rows := constants(t, "runbook/errors.go", "Code")
	require.Contains(t, rows, [2]string{`"NotPaused"`, "a resume, but the device is not ConflictPaused"})
	for _, row := range rows {
		page += fmt.Sprintf("| `%s` | %s |\n", strings.Trim(row[0], `"`), row[1])
	}
	require.NoError(t, reference.Check("error-codes.md", page))
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	page := "# Exit codes\n\n`starter` ends with these; scripts rely on them. `worker` and `gateway` end with 0, " +
		"1 and 2.\n\n" +
		"| code | meaning |\n|---|---|\n| 0 | done |\n"
	files, err := filepath.Glob(filepath.Join(root, "starter/printer/*.go"))
	require.NoError(t, err)
	var rows [][2]string
	for _, file := range files {
		name, err := filepath.Rel(root, file)
		require.NoError(t, err)
		rows = append(rows, slices.Concat(constants(t, name, "Exit"), constants(t, name, "exit"))...)
	}
	slices.SortFunc(rows, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	require.Greater(t, len(rows), 4)
	for _, row := range rows[1:] {
		page += fmt.Sprintf("| %s | %s |\n", row[0], row[1])
	}
	require.NoError(t, reference.Check("exit-codes.md", page))
}

// constants are the values of a file's constants whose names begin so, with the comments behind them.
func constants(t *testing.T, file, prefix string) (rows [][2]string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ParseComments)
	require.NoError(t, err)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok {
			rows = append(rows, [2]string{value.Value, strings.TrimSpace(spec.Comment.Text())})
		}
		return true
	})
	return rows
}

// A metric is what the source gives a name that begins with rollcall_ and, behind it, a text.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var rows []string
	for _, dir := range []string{"internal/host", "gateway/agentapi", "inventory", "activities", "flightctl"} {
		for _, file := range sources(t, dir) {
			rows = append(rows, metrics(t, file)...)
		}
	}
	slices.Sort(rows)
	require.NotEmpty(t, rows)
	page := "# Metrics\n\nServed at `/metrics` of `--metrics-listen`, by the worker (`rollcall_…` and the " +
		"Temporal SDK's own " +
		"`temporal_…`)\nand by the gateway (`rollcall_gateway_…`).\n\n| metric | meaning |\n|---|---|\n" +
		strings.Join(rows, "")
	require.Contains(t, page, "| `rollcall_gateway_polls_open` | Polls that are held. |")
	require.Contains(t, page, "| `rollcall_devices` |")
	require.NoError(t, reference.Check("metrics.md", page))
}

func metrics(t *testing.T, file string) (rows []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	add := func(name, help ast.Expr) {
		n, text := literal(name), literal(help)
		if regexp.MustCompile(`^rollcall_[a-z_]+$`).MatchString(n) && strings.HasSuffix(text, ".") {
			rows = append(rows, fmt.Sprintf("| `%s` | %s |\n", n, text))
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if len(n.Args) > 1 {
				add(n.Args[0], n.Args[1])
			}
		case *ast.CompositeLit:
			fields := map[string]ast.Expr{}
			for _, e := range n.Elts {
				if pair, ok := e.(*ast.KeyValueExpr); ok {
					fields[fmt.Sprint(pair.Key)] = pair.Value
				}
			}
			add(fields["Name"], fields["Help"])
		}
		return true
	})
	return rows
}

// literal is the text of a literal, or of literals that are added up.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	}
	return ""
}

// Every variable that a program reads is in the table, and every one of the table is read.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`\bROLLCALL_[A-Z][A-Z_]*[A-Z]\b`)
	var read []string
	for _, dir := range []string{
		"worker", "gateway", "starter", "inventory", "activities", "internal", "simulator", "flightctl",
	} {
		for _, file := range sources(t, dir) {
			if strings.Contains(file, "/devtest/") || strings.HasSuffix(file, "internal/reference/configuration.go") {
				continue
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			read = append(read, named.FindAllString(string(text), -1)...)
		}
	}
	slices.Sort(read)
	read = slices.Compact(read)
	require.Contains(t, read, "ROLLCALL_DATABASE_URL")
	page := reference.Configuration()
	for _, variable := range read {
		require.Contains(t, page, "`"+variable+"`", "say in internal/reference/configuration.go what it means")
	}
	for _, variable := range named.FindAllString(page, -1) {
		if !slices.Contains(read, variable) {
			require.Contains(t, read, strings.TrimSuffix(variable, "_FILE"), "no program reads it")
		}
	}
	require.NoError(t, reference.Check("configuration.md", page))
}

// sources are the Go files below a folder, tests left out.
func sources(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	require.NoError(t, err)
	return files
}
