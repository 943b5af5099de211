package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"sigs.k8s.io/yaml"

	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

func TestACancelledRestoreSaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.ok("restore", "--id", "first", "--as", "alice")
	b.ok("cancel", "first", "--reason", "wrong backup", "--as", "bob")
	text := b.ok("status", "first")
	require.Regexp(t, `started .* by alice\n`, text)
	require.Regexp(t, `finished .* by bob: wrong backup\n`, text)
	var view printer.RestoreView
	b.run("status", "first", "-o", "json").json(t, &view)
	require.Equal(t, []string{"alice", "bob", "wrong backup"}, []string{view.OpenedBy, view.ClosedBy, view.Reason})
	require.Empty(t, view.Warning)
}

func TestStatusSaysWhenNothingGoesOn(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	require.NotContains(t, b.ok("status"), "warning")
	// When the workflow is lost,
	require.NoError(t, b.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), "", "lost"))
	require.Contains(t, b.ok("status"), "no workflow runs it: take it up again with `starter restore --id first`")
	// or another queue's worker is asked about, it says so, without a wait.
	b.ok("restore", "--id", "first")
	begin := time.Now()
	var view printer.RestoreView
	b.run("status", "-o", "json", "--task-queue", "nobody").json(t, &view)
	require.Contains(t, view.Warning, `no worker polls task queue "nobody"`)
	require.Less(t, time.Since(begin), 10*time.Second)
}

func TestARestoreThatFindsNoDeviceWarns(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	o := b.run("restore", "--id", "first")
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stderr, "warning: restore first found no device to put on its roll")
	require.Contains(t, b.run("restore", "--id", "second", "--wait").stderr, "found no device")
}

// Each of these has a message of its own, and none waits.
func TestWhyTemporalDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.give(device{name: "web-1", version: "5"})
	dialing := func(options client.Options) func(args ...string) outcome {
		return func(args ...string) outcome {
			var stdout, stderr bytes.Buffer
			streams := testIO(&stdout, &stderr,
				map[string]string{devstack.EnvDatabaseURL: b.database(args...), devstack.EnvTaskQueue: b.queue, "USER": "tester"})
			streams.Dial = func(ctx context.Context, opts host.DialOptions) (client.Client, error) {
				options.Logger = opts.Logger
				return client.DialContext(ctx, options)
			}
			begin := time.Now()
			code := Execute(t.Context(), streams, args)
			require.Less(t, time.Since(begin), 14*time.Second, args)
			return outcome{code: code, stdout: stdout.String(), stderr: stderr.String()}
		}
	}
	wrong := dialing(client.Options{HostPort: b.server.Address, Namespace: "nowhere"})
	alone := dialing(client.Options{HostPort: b.server.Address, Namespace: b.server.Namespace})
	for _, args := range [][]string{
		{"resume", "devices", "--field-selector=metadata.name=web-1"},
		{"resume", "device", "web-1"},
		{"restore", "--id", "x"},
		{"reconnect", "device", "web-1", "--rendered-version", "5"},
		{"approve", "er/er-1"},
	} {
		if args[1] != "devices" { // nothing is paused, so that nothing is asked
			o := wrong(args...)
			require.Equal(t, 1, o.code, args)
			require.Contains(t, o.stderr, `no namespace "nowhere" in Temporal`, args)
		}
	}
	o := alone("resume", "device", "web-1")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "no worker polls task queue")
}

func TestErrorsUnderJSONAreJSON(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a failure":           {[]string{"status", "-o", "json"}, 1, "no restore"},
		"a command line":      {[]string{"get", "devices", "--limit", "-1", "-o", "json"}, 2, "--limit -1"},
		"a flag":              {[]string{"get", "devices", "--nonsense", "-o", "json"}, 2, "unknown flag"},
		"another form of -o":  {[]string{"describe", "device", "web-9", "--output=json"}, 1, `device \"web-9\": not found`},
		"no text beside JSON": {[]string{"resume", "-o", "json"}, 2, "requires at least 1 arg"},
	} {
		o := b.run(c.args...)
		require.Equal(t, c.code, o.code, name)
		require.Contains(t, o.stderr, c.want, name)
		var f failure
		require.NoError(t, json.Unmarshal([]byte(o.stderr), &f), "%s: %s", name, o.stderr)
		require.Equal(t, c.code, f.ExitCode, name)
	}
	var f failure
	require.NoError(t, json.Unmarshal([]byte(b.run("status", "none", "-o", "json").stderr), &f))
	require.Equal(t, runbook.CodeNotFound, f.Code)
}

func TestVersionIsAFlagAsWell(t *testing.T) {
	t.Parallel()
	o := runBare(t, "--version")
	require.Equal(t, 0, o.code, o.stderr)
	require.Regexp(t, `^rollcall .+ \(commit .*go1`, o.stdout)
}

// A device that was withdrawn waits for no one, in every list; its row stays as it is.
func TestWhoWasWithdrawnDoesNotWait(t *testing.T) {
	t.Parallel()
	b, _ := pausedBench(t)
	waiting := []string{
		"get", "devices", "-o", "name", "--field-selector",
		"status.summary.status in (AwaitingReconnect,ConflictPaused)",
	}
	require.Equal(t, "device/web-1\ndevice/web-2\ndevice/web-3\ndevice/web-4\n", b.ok(waiting...))
	b.ok("withdraw", "device", "web-1", "--force", "--reason", "lost")
	b.ok("withdraw", "device", "web-4", "--force", "--reason", "lost")
	for range 2 { // while the restore runs, and after it was cancelled
		require.Equal(t, "device/web-2\ndevice/web-3\n", b.ok(waiting...))
		require.Contains(t, b.ok("get", "devices", "--field-selector", "status.summary.status!=ConflictPaused", "-o", "name"),
			"web-1")
		require.Regexp(t, `(?m)^web-4 .* Withdrawn `, b.ok("get", "devices"))
		summary := b.ok("get", "devices", "--summary")
		require.Regexp(t, `(?m)^Withdrawn +2$`, summary)
		require.Regexp(t, `(?m)^ConflictPaused +2$`, summary)
		require.NotContains(t, summary, "AwaitingReconnect")
		text := b.ok("status", "first")
		require.NotContains(t, text, "web-1")
		require.Regexp(t, `(?m)^Withdrawn +2$`, text)
		require.Equal(t, runbook.StateWithdrawn, b.described("web-4").State)
		b.run("cancel", "first", "--reason", "x")
	}
	// A newer restore waits for them again.
	b.ok("restore", "--id", "second")
	b.until("web-4", runbook.StateAwaitingReconnect)
	require.Contains(t, b.ok(waiting...), "web-1")
}

// What a terminal would act on is written as an escape, and reads back as what it was.
func TestWhatATerminalWouldActOnIsEscaped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(device{name: "web-1"}, device{name: "web-2"})
	evil := "a\u009b31m\u202eb\u2066c\u007f"
	_, err := b.store.DB().ExecContext(t.Context(),
		`update devices set status = jsonb_set(status, '{summary,info}', to_jsonb(cast($1 as text))) where name = 'web-1'`,
		evil)
	require.NoError(t, err)
	for _, format := range []string{"json", "yaml"} {
		out := b.ok("get", "devices", "-o", format)
		require.Less(t, strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }), 0,
			"%s: %q", format, out)
		var list struct {
			Items []struct {
				Status struct{ Summary struct{ Info string } }
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(out), &list), out)
		require.Len(t, list.Items, 2)
		require.Equal(t, evil, list.Items[0].Status.Summary.Info)
	}
	b.ok("describe", "device", "web-1", "-o", "yaml")
}

// What a token bucket has held back shows where an operator looks.
func TestReportsThatWereHeldBackShow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"}, device{name: "web-3", version: "5"})
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "first", By: "alice"})
	require.NoError(t, err)
	_, err = b.store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "first"})
	require.NoError(t, err)
	for _, line := range []string{"status", "describe device web-1", "explain device web-1"} {
		require.NotContains(t, strings.ToLower(b.ok(strings.Fields(line)...)), "held back", line)
		require.NotContains(t, b.ok(append(strings.Fields(line), "-o", "json")...), "heldBack", line)
	}
	held := func(name string, reports int) {
		b.store.DB().MustExec(`update rollcall.roll set held_back = $2 where name = $1`, name, reports)
	}
	held("web-1", 1)
	held("web-2", 98)
	text := b.ok("status")
	require.Contains(t, text,
		"\nheld back: 99 reports of 2 devices that report too many versions, most of them of web-2\n")
	require.Contains(t, text, "starter describe device web-2")
	held("web-1", 2)
	require.Contains(t, b.ok("status"), "\nwarning: held back: 100 reports of 2 devices")
	var status runbook.RestoreStatus
	b.run("status", "-o", "json").json(t, &status)
	require.Equal(t, &runbook.HeldBack{Reports: 100, Devices: 2, Most: "web-2", OrgID: runbook.DefaultOrgID},
		status.HeldBack)
	require.EqualValues(t, 2, b.described("web-1").HeldBack)
	require.Contains(t, b.ok("describe", "device", "web-1"), "Held back:  2 reports, because")
	require.Contains(t, b.ok("explain", "device", "web-1"), "held back: 2 reports, because")
	require.Contains(t, b.ok("explain", "device", "web-1", "-o", "json"), `"heldBackReports": 2`)
}

// A report for a device whose workflow is yet to be started says so.
func TestAReportThatIsTooEarlySaysSo(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	// The restore has the device on its roll, and its workflow has not come to it.
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "first", By: "alice"})
	require.NoError(t, err)
	_, err = b.store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "first"})
	require.NoError(t, err)
	b.hooks = &hooks{tally: &runbook.RestoreProgress{
		RestoreID: "first", Phase: runbook.PhaseWaiting, Total: 4000,
		Called: new(int64),
	}}
	o := b.run("reconnect", "device", "web-1", "--rendered-version", "5", "--timeout", "20s")
	require.Equal(t, 1, o.code)
	require.Contains(t, o.stderr, "restore first is still starting the workflows of its devices (0 of 4000): try again "+
		"in a moment")
	require.NotContains(t, o.stderr, "take it up again")
}
