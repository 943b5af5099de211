package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"rollcall/internal/version"
)

// runBare runs a command line where there is no database and no Temporal.
func runBare(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := testIO(&stdout, &stderr, map[string]string{"USER": "tester"})
	streams.Dir = t.TempDir()
	code := Execute(t.Context(), streams, args)
	return outcome{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

func TestUsageErrorsExitWith2AndSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ line, says string }{
		"no such command":       {"frobnicate", `unknown command "frobnicate"`},
		"no such flag":          {"status --frob", "unknown flag: --frob"},
		"too many arguments":    {"status a b", "accepts at most 1 arg"},
		"unknown output format": {"status -o toml", `unknown output format "toml": use one of json, yaml`},
		"wide is for get only":  {"status -o wide", "unknown output format"},
		"get nothing":           {"get", "requires at least 1 arg"},
		"get an unknown kind": {
			"get repositories",
			`unknown kind "repositories": use one of devices, fleets, enrollmentrequests, events`,
		},
		"get two kinds":               {"get device/a fleet/b", "only one kind"},
		"get mixed forms":             {"get device/a b", "not KIND/NAME"},
		"get an empty name":           {"get device/", "a name is empty"},
		"get fewer than none":         {"get devices --limit -1", "--limit -1"},
		"get by empty selector":       {"get devices --selector=", "--selector is empty"},
		"get by empty field selector": {"get devices --field-selector=", "--field-selector is empty"},
		"get by a comma":              {"get devices -l ,", "--selector"},
		"get by a broken selector":    {"get devices -l a==b==c", "--selector"},
		"get by an unknown field":     {"get devices --field-selector=spec.os=1", "spec.os"},
		"get fleets by device fields": {
			"get fleets --field-selector=status.summary.status=Online",
			"status.summary.status",
		},
		"import nothing":              {"import", "-f FILE"},
		"create the default org":      {"import -f - --create-org", "--create-org needs --org"},
		"restore with an argument":    {"restore first", "unknown command"},
		"restore with a bad id":       {"restore --id a/b", "cannot be used"},
		"restore with an empty id":    {"restore --id=", "cannot be used"},
		"restore in giant batches":    {"restore --batch-size 99999", "--batch-size 99999"},
		"restore, below 0 at once":    {"restore --batches-at-once -1", "--batches-at-once -1"},
		"restore, too many at once":   {"restore --batches-at-once 33", "--batches-at-once 33"},
		"restore in negative batches": {"restore --batch-size -1", "--batch-size -1"},
		"restore with a hasty watch":  {"restore --watch-interval 1ms", "--watch-interval"},
		"restore with an early watch": {"restore --watch-interval -1s", "--watch-interval"},
		"check an organisation":       {"check --org acme", "--org does not go with check, which is about all"},
		"migrate an organisation":     {"migrate --org acme", "--org does not go with migrate, which is about all"},
		"restore by no one":           {"restore --as=", "--as is empty"},
		"status of fewer than none":   {"status --longest -1", "--longest -1"},
		"describe nothing":            {"describe", "requires at least 1 arg"},
		"describe no name":            {"describe device", "name one device"},
		"describe two":                {"describe device a b", "name one device"},
		"describe an event": {
			"describe event x",
			`unknown kind "event": use one of devices, enrollmentrequests, fleets, restores`,
		},
		"describe no fleet":             {"describe fleet", "name one fleet: fleet NAME, or fleet/NAME"},
		"reconnect without a version":   {"reconnect device a", `"rendered-version" not set`},
		"approve nothing":               {"approve", "requires at least 1 arg"},
		"approve everything unasked":    {"approve enrollmentrequests", "say which enrollment requests"},
		"approve by empty selector":     {"approve er --selector= --as=alice", "--selector is empty"},
		"approve a device":              {"approve device a", `unknown kind "device"`},
		"approve with an odd label":     {"approve er a --label si/t/e=b", "--label si/t/e=b"},
		"approve all of some":           {"approve er a --all", "but not both"},
		"deny nothing":                  {"deny er", "name the enrollment requests to deny"},
		"deny everything":               {"deny er --all", "unknown flag: --all"},
		"reconnect with no version":     {"reconnect device a --rendered-version=", "write 0 for a device that runs none"},
		"resume nothing":                {"resume", "requires at least 1 arg"},
		"resume everything unasked":     {"resume devices", "say which devices"},
		"resume by empty selector":      {"resume device --selector=", "--selector is empty"},
		"resume by blank selector":      {"resume devices --selector= --as=alice", "--selector is empty"},
		"resume by empty fields":        {"resume devices --field-selector=", "--field-selector is empty"},
		"resume name and selector":      {"resume device a -l x=y", "not both"},
		"resume name and fields":        {"resume device/a --field-selector metadata.name=a", "not both"},
		"resume name and all":           {"resume device a --all", "not both"},
		"resume all and selector":       {"resume devices --all -l x=y", "--all cannot be used together"},
		"resume many by version":        {"resume devices --all --expect-version 7", "--expect-version"},
		"resume two by version":         {"resume device a b --expect-version 7", "--expect-version"},
		"resume by empty version":       {"resume device a --expect-version=", "--expect-version is empty"},
		"resume by unreadable version":  {"resume device a --expect-version 07", "leading zero"},
		"resume by no one":              {"resume device a --as=", "--as is empty"},
		"resume without patience":       {"resume device a --timeout 0s", "--timeout 0s"},
		"resume with an empty id":       {"resume device a --request-id=", "--request-id is empty"},
		"resume a fleet":                {"resume fleet web", "unknown kind"},
		"withdraw no name":              {"withdraw device", "say which devices: name them"},
		"cancel nothing":                {"cancel", "accepts 1 arg"},
		"cancel without a reason":       {"cancel first", "--reason"},
		"cancel with a blank reason":    {"cancel first --reason=", "--reason"},
		"cancel an id that cannot be":   {"cancel a/b --reason=x", "cannot be used"},
		"simulate no one":               {"simulate --devices 0", "--devices 0"},
		"simulate fewer than no one":    {"simulate --devices -1", "--devices -1"},
		"simulate for no time":          {"simulate --for 0s", "--for 0s"},
		"simulate without TLS":          {"simulate --gateway http://127.0.0.1:1", "https://host:port"},
		"simulate with a word as seed":  {"simulate --seed x", "--seed"},
		"check something":               {"check database", "unknown command"},
		"simulate some":                 {"simulate 7", "unknown command"},
		"migrate with an argument":      {"migrate now", "unknown command"},
		"complete for an unknown shell": {"completion tcsh --nope", "unknown"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := runBare(t, strings.Fields(c.line)...)
			require.Equal(t, 2, o.code, o.stderr)
			require.Contains(t, o.stderr, c.says)
			require.True(t, strings.HasPrefix(o.stderr, "error: "), o.stderr)
			require.Contains(t, o.stderr, "--help", "a usage error shows where to read on")
			require.Empty(t, o.stdout)
		})
	}
}

func TestEveryCommandExplainsItselfWithAnExampleToPaste(t *testing.T) {
	t.Parallel()
	root := newRootCommand(testIO(nil, nil, nil))
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.NotEmpty(t, cmd.Example, cmd.CommandPath())
		for line := range strings.Lines(cmd.Example) {
			require.True(t, strings.HasPrefix(line, "  "), "%s: %q", cmd.CommandPath(), line)
			require.Contains(t, line, "starter", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
	require.Len(t, root.Commands(), 21)
}

// TestExamplesAreUnderstood pastes the examples: what is wrong with them must not be the command line.
func TestExamplesAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, cmd := range newRootCommand(testIO(nil, nil, nil)).Commands() {
		if cmd.Name() == "dev" {
			continue // it would really start
		}
		for line := range strings.Lines(cmd.Example) {
			_, line, _ = strings.Cut(line, "starter ")
			o := runBare(t, words(line)...)
			require.NotEqual(t, 2, o.code, "starter %s: %s", line, o.stderr)
		}
	}
}

// words splits a command line as a shell does, as far as the examples need it.
func words(line string) []string {
	var out []string
	var word strings.Builder
	quoted := false
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			if word.Len() > 0 {
				out = append(out, word.String())
				word.Reset()
			}
		default:
			word.WriteRune(r)
		}
	}
	return out
}

func TestHelpAndVersionNeedNothing(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "--help", "help resume", "resume --help", "version", "version -o json",
		"version -o yaml", "completion bash", "completion zsh",
	} {
		o := runBare(t, strings.Fields(line)...)
		require.Equal(t, 0, o.code, "%s: %s", line, o.stderr)
		require.NotEmpty(t, o.stdout, line)
		require.Empty(t, o.stderr, line)
	}
	var info version.Info
	runBare(t, "version", "-o", "json").json(t, &info)
	require.NotEmpty(t, info.Version)
	require.NotEmpty(t, info.Go)
}
