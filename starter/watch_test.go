package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
	"rollcall/starter/board"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
	"rollcall/starter/review"
)

func TestAWatchEndsWhenAHumanIsNeeded(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5", fleet: "web"}, device{name: "web-2", version: "5"})
	b.restored("first")
	ended := make(chan outcome, 3)
	for _, args := range [][]string{
		{"status", "--wait", "--until-human"},
		{"status", "first", "--watch", "--until-human", "--interval", "100ms", "-o", "json"},
		{"restore", "--id", "first", "--wait", "--until-human"},
	} {
		go func() { ended <- b.run(args...) }()
	}
	b.reported("web-1", "7", runbook.StateConflictPaused)
	attached := false
	for range 3 {
		o := <-ended
		require.Equal(t, printer.ExitHuman, o.code, "stdout: %s\nstderr: %s", o.stdout, o.stderr)
		require.Contains(t, o.stderr, "a human is needed for restore first: 1 device is paused and waits for a decision")
		attached = attached || strings.Contains(o.stderr, "restore first runs already: waiting for its end")
	}
	require.True(t, attached, "restore --wait attaches to what runs")

	// Once that is decided, the same command waits for the end.
	go func() { ended <- b.run("status", "--wait", "--until-human") }()
	b.ok("resume", "device", "web-1", "--reason", "checked")
	b.ok("reconnect", "device", "web-2", "--rendered-version", "5")
	o := <-ended
	require.Contains(t, []int{0, printer.ExitHuman}, o.code, "it may have looked before the decision: %s", o.stderr)
	o = b.run("status", "first", "--watch", "--until-human", "--interval", "100ms")
	require.Equal(t, 0, o.code, o.stderr)
	require.Contains(t, o.stdout, "2 devices: 0 wait, 0 paused, 2 back, 0 withdrawn; completed")
	require.Equal(t, 0, b.run("status", "first", "--wait").code)
}

func TestAWatchOfACancelledRestoreFails(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.restored("first")
	ended := make(chan outcome, 2)
	for _, how := range []string{"--watch", "--wait"} {
		go func() { ended <- b.run("status", "first", how) }()
	}
	b.ok("cancel", "first", "--reason", "wrong backup")
	for range 2 {
		o := <-ended
		require.Equal(t, 1, o.code)
		require.Contains(t, o.stderr, "restore first did not complete: it was cancelled with 1 device still waiting")
	}
}

func TestTheBoardIsWhatTheDatabaseSays(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
		b.give(device{name: name, version: "5"})
	}
	b.giveYAML(yamlRequest(t, "er-1", ""))
	b.restored("first")
	b.reported("web-2", "7", runbook.StateConflictPaused)
	b.reported("web-3", "9", runbook.StateConflictPaused)
	b.reported("web-4", "5", runbook.StateNormal)
	got, err := board.Read(t.Context(), b.store, testIO(nil, nil, nil).Now, "first", "", "")
	require.NoError(t, err)
	require.EqualValues(t, 3, got.Answered)
	require.EqualValues(t, 2, got.Undecided)
	require.EqualValues(t, 1, got.PendingRequests)
	require.Equal(t, "web-3", got.Conflicts[0].Name, "the newest first")
	require.Len(t, got.Conflicts, 2)
	require.Equal(t, "web-1", got.Longest[0].Name)
	require.Positive(t, got.PerMinute)
	require.NotNil(t, got.AllAnswered, "three have answered")
	other, err := b.store.CreateOrg(t.Context(), "other")
	require.NoError(t, err)
	none, err := board.Read(t.Context(), b.store, testIO(nil, nil, nil).Now, "first", other, "")
	require.NoError(t, err)
	require.Zero(t, none.Total+none.Answered+none.Undecided+none.PendingRequests)
}

func TestBadWatches(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for line, want := range map[string]string{
		"status --watch --wait":         "use one of them",
		"status --until-human":          "use it with one of them",
		"status --watch --interval 1ms": "use 100ms or more",
		"status --watch -o yaml":        "a line of JSON for each change",
		"restore --until-human":         "ends --wait",
		"get devices --watch -o yaml":   "--watch shows tables",
		"get devices --interval 1s":     "use both",
	} {
		o := b.run(strings.Fields(line)...)
		require.Equal(t, 2, o.code, line)
		require.Contains(t, o.stderr, want, line)
	}
	require.Equal(t, 1, b.run("status", "--watch").code, "there is none")
}

// lines collects what a command writes, and tells when it contains something.
type lines struct {
	written chan []byte
	all     bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.written <- bytes.Clone(p)
	return len(p), nil
}

func (l *lines) await(t *testing.T, want string) {
	t.Helper()
	for !strings.Contains(l.all.String(), want) {
		select {
		case p := <-l.written:
			l.all.Write(p)
		case <-t.Context().Done():
			t.Fatalf("never written: %s\n%s", want, l.all.String())
		}
	}
}

func TestGetWatchWritesARowForEachChange(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{written: make(chan []byte, 100)}
	ended := make(chan int, 1)
	streams := testIO(out, &bytes.Buffer{}, map[string]string{devstack.EnvDatabaseURL: b.database("get")})
	columns := "custom-columns=NAME:.metadata.name,SYSTEM:.status.summary.status"
	go func() {
		ended <- Execute(ctx, streams, []string{"get", "devices", "-o", columns, "--watch", "--interval", "100ms"})
	}()
	out.await(t, "web-2   Online")
	_, err := b.store.DB().ExecContext(t.Context(), `
		update devices set status = jsonb_set(status, '{summary,status}', '"Error"') where name = 'web-2'`)
	require.NoError(t, err)
	out.await(t, "web-2   Error")
	_, err = b.store.DB().ExecContext(t.Context(), `update devices set deleted_at = now() where name = 'web-1'`)
	require.NoError(t, err)
	out.await(t, "web-1   <gone>")
	cancel()
	require.Equal(t, 0, <-ended)
	require.Equal(t, "NAME    SYSTEM\nweb-1   Online\nweb-2   Online\nweb-2   Error\nweb-1   <gone>\n", out.all.String())
}

// With -o json each change is an object in a line of its own.
func TestGetWatchWritesAnObjectForEachChange(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{written: make(chan []byte, 100)}
	ended := make(chan int, 1)
	streams := testIO(out, &bytes.Buffer{}, map[string]string{devstack.EnvDatabaseURL: b.database("get")})
	streams.IsTerminal = func(io.Writer) bool { return true }
	go func() {
		ended <- Execute(ctx, streams, []string{"get", "devices", "-o", "json", "--watch", "--interval", "100ms"})
	}()
	out.await(t, `"name":"web-2"`)
	for _, change := range []string{
		`update device_timestamps set last_seen = now()`, // is no change
		`update devices set status = jsonb_set(status, '{summary,status}', '"Error"') where name = 'web-2'`,
		`update devices set deleted_at = now() where name = 'web-1'`,
	} {
		_, err := b.store.DB().ExecContext(t.Context(), change)
		require.NoError(t, err)
	}
	out.await(t, `"gone":true`)
	out.await(t, `"Error"`)
	cancel()
	require.Equal(t, 0, <-ended)
	var changes []string
	for line := range strings.Lines(out.all.String()) {
		var d struct {
			Kind     string
			Metadata struct{ Name string }
			Status   struct{ Summary struct{ Status string } }
			Gone     bool
		}
		require.NoError(t, json.Unmarshal([]byte(line), &d), line)
		require.Equal(t, "Device", d.Kind)
		changes = append(changes, fmt.Sprint(d.Metadata.Name, " ", d.Status.Summary.Status, " ", d.Gone))
	}
	require.Equal(t, []string{"web-1 Online false", "web-2 Online false"}, changes[:2])
	require.ElementsMatch(t, []string{"web-2 Error false", "web-1  true"}, changes[2:])
}

func TestExplainNamesWhatADeviceWaitsFor(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	stop := b.work()
	b.give(device{name: "web-1", version: "5"}, device{name: "web-2", version: "5"})
	b.giveYAML(yamlRequest(t, "er-1", ""))
	b.restored("first")
	b.reported("web-1", "7", runbook.StateConflictPaused)
	require.Contains(t, b.ok("explain", "device", "web-1"), "starter resume device web-1 --expect-version 7")
	require.Contains(t, b.ok("explain", "device/web-2"), "device/web-2 waits for its agent, since ")
	require.Contains(t, b.ok("explain", "device", "er-1"), "device/er-1 waits for a human's approval")
	require.Equal(t, 1, b.run("explain", "device", "none").code)
	var e review.Explanation
	b.run("explain", "device", "web-2", "-o", "json").json(t, &e)
	require.Equal(t, "its agent", e.WaitsFor)
	require.Empty(t, e.Warning)
	stop()
	require.NoError(t, b.client.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("first"), "", "lost"))
	require.Contains(t, b.ok("explain", "device", "web-2"), "take it up again with `starter restore --id first`")
}
