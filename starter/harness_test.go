package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/activities"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

// bench is one test's world: a database, a Temporal namespace where the test wants one, and commands that run in it.
type bench struct {
	t *testing.T
	// url is the owner's, as store is, which the test itself uses. Each program has the rights of its role.
	url    string
	server devtest.Server
	client client.Client
	store  *inventory.Store
	queue  string
	dir    string
	// flightctl is the Flight Control beside which workers run; nil is none.
	flightctl activities.FlightControl
	// hooks change what commands see of Temporal; nil is nothing.
	hooks *hooks
	// policy is what a worker that is started demands of resumes.
	policy runbook.ResumePolicy
	// state is the user's state folder; empty is none.
	state string
	// confirmAbove is the share of a roll above which a resume needs its count; "100%" asks for none, empty is the
	// default.
	confirmAbove string
	// terminal tells commands that a person watches.
	terminal bool
	// token is the JWT with which commands call Temporal; empty is none. credentials has them record who decides without
	// one.
	token       string
	credentials bool
}

// newBench is a world with a database and without Temporal.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, url: devtest.Database(t), dir: t.TempDir(), queue: devtest.TaskQueue(t), confirmAbove: "100%"}
	b.store = b.open(b.url)
	return b
}

func (b *bench) open(url string) *inventory.Store {
	b.t.Helper()
	store, err := inventory.Open(b.t.Context(), url)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, store.Close()) })
	return store
}

// openAs connects to the database with the rights of a role.
func (b *bench) openAs(role string) *inventory.Store {
	b.t.Helper()
	return b.open(devtest.As(b.t, b.url, role))
}

// roleOf is the role by which a command connects that neither decides nor has a role of its own. `check` looks whether
// a worker could work with its login, and "none" is the owner.
var roleOf = map[string]string{
	"status": roles.Reader, "get": roles.Reader, "describe": roles.Reader, "explain": roles.Reader, "diff": roles.Reader,
	"fsck": roles.Reader, "check": roles.Worker, "migrate": "none",
}

// database is the URL by which a command line connects: with the rights of the role that is for its command.
func (b *bench) database(args ...string) string {
	b.t.Helper()
	command := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
	if command >= 0 && roleOf[args[command]] != "" {
		return devtest.As(b.t, b.url, roleOf[args[command]])
	}
	return devtest.As(b.t, b.url, roles.Operator)
}

// newTemporalBench is a world with Temporal as well, in which no worker runs yet.
func newTemporalBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.server = devtest.Temporal(t)
	b.client = b.server.Client(t, host.DisableStickyQueue)
	return b
}

// work runs a worker until the returned function is called, or the test ends.
func (b *bench) work() (stop func()) {
	b.t.Helper()
	worker, err := host.New(b.t.Context(), host.Config{
		Client: b.client, Store: b.openAs(roles.Worker), Namespace: b.server.Namespace, TaskQueue: b.queue,
		Logger: slog.New(slog.DiscardHandler), Flightctl: b.flightctl, Policy: b.policy,
	})
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(b.t, <-done)
		}
	}
	b.t.Cleanup(stop)
	return stop
}

// outcome is how a command ended and what it wrote.
type outcome struct {
	code           int
	stdout, stderr string
}

// json reads what the command wrote as JSON.
func (o outcome) json(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(o.stdout), v), "stdout: %s\nstderr: %s", o.stdout, o.stderr)
}

// run runs a command line in the bench's world.
func (b *bench) run(args ...string) outcome {
	b.t.Helper()
	return b.runWith(b.t.Context(), "", args...)
}

// ok runs a command line that must succeed, and returns what it wrote to stdout.
func (b *bench) ok(args ...string) string {
	b.t.Helper()
	o := b.run(args...)
	require.Equal(b.t, 0, o.code, "starter %s\nstdout: %s\nstderr: %s", strings.Join(args, " "), o.stdout, o.stderr)
	return o.stdout
}

func (b *bench) runWith(ctx context.Context, stdin string, args ...string) outcome {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	streams := testIO(&stdout, &stderr, map[string]string{
		devstack.EnvDatabaseURL: b.database(args...), devstack.EnvTaskQueue: b.queue,
		"USER": "tester", "XDG_STATE_HOME": b.state, ask.EnvConfirmAbove: b.confirmAbove,
	})
	streams.Stdin = strings.NewReader(stdin)
	streams.Dir = b.dir
	streams.IsTerminal = func(io.Writer) bool { return b.terminal }
	if b.client != nil {
		streams.Dial = func(ctx context.Context, opts host.DialOptions) (client.Client, error) {
			c, err := client.DialContext(ctx, withToken(client.Options{
				HostPort: b.server.Address, Namespace: b.server.Namespace, Logger: opts.Logger,
			}, b.token))
			if err != nil || b.hooks == nil {
				return c, err
			}
			return hookedClient{Client: c, hooks: b.hooks}, nil
		}
	}
	streams.SendsCredentials = func() (bool, error) { return b.credentials || b.token != "", nil }
	code := Execute(ctx, streams, args)
	return outcome{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

// withToken has a client call with a JWT; empty is without one.
func withToken(o client.Options, token string) client.Options {
	if token != "" {
		o.Credentials = client.NewAPIKeyStaticCredentials(token)
		o.ConnectionOptions.TLSDisabled = true // the server is on this machine
	}
	return o
}

// testIO is an IO that reaches nothing but the variables of env.
func testIO(stdout, stderr io.Writer, env map[string]string) printer.IO {
	return printer.IO{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr,
		Env:        func(key string) (string, bool) { v, ok := env[key]; return v, ok },
		IsTerminal: func(io.Writer) bool { return false },
		Now:        time.Now,
		Dir:        os.TempDir(),
		Dial: func(context.Context, host.DialOptions) (client.Client, error) {
			return nil, fmt.Errorf("this test has no Temporal")
		},
	}
}

// device is what a test says about a device that it imports; everything else is as in a backup.
type device struct {
	name, version, fleet, labels string
}

func (d device) document() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: flightctl.io/v1beta1\nkind: Device\nmetadata:\n  name: %q\n", d.name)
	if d.fleet != "" {
		fmt.Fprintf(&b, "  owner: Fleet/%s\n", d.fleet)
	}
	if d.labels != "" {
		fmt.Fprintf(&b, "  labels: {%s}\n", d.labels)
	}
	if d.version != "" {
		fmt.Fprintf(&b, "  annotations:\n    device-controller/renderedVersion: %q\n", d.version)
	}
	b.WriteString("spec:\n  os:\n    image: registry.example.com/os:1\nstatus:\n  summary:\n    status: Online\n  " +
		"lastSeen: \"2026-01-02T03:04:05Z\"\n")
	return b.String()
}

func fleet(name, selector string) string {
	return fmt.Sprintf("apiVersion: flightctl.io/v1beta1\nkind: Fleet\nmetadata:\n  name: %s\nspec:\n  selector:\n    "+
		"matchLabels: {%s}\n  template:\n    spec:\n      os:\n        image: registry.example.com/%s:2\n", name, selector,
		name)
}

// give imports devices.
func (b *bench) give(devices ...device) {
	b.t.Helper()
	documents := make([]string, len(devices))
	for i, d := range devices {
		documents[i] = d.document()
	}
	b.giveYAML(documents...)
}

func (b *bench) giveYAML(documents ...string) {
	b.t.Helper()
	o := b.runWith(b.t.Context(), strings.Join(documents, "---\n"), "import", "-f", "-")
	require.Equal(b.t, 0, o.code, o.stderr)
}

// restored starts a restore of the fleet, which a worker must carry out.
func (b *bench) restored(id string) {
	b.t.Helper()
	b.ok("restore", "--id", id)
}

// reported makes a device report a version and waits until it has come into the state.
func (b *bench) reported(name, version string, state runbook.State) {
	b.t.Helper()
	b.ok("reconnect", "device", name, "--rendered-version", version)
	b.until(name, state)
}

// until waits until the device is in the state.
func (b *bench) until(name string, state runbook.State) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		found, err := b.store.Position(b.t.Context(), inventory.Query{Names: []string{name}})
		return err == nil && len(found) == 1 && found[0].State == state
	}, 2*time.Minute, 20*time.Millisecond, "device %s does not become %s", name, state)
}

// tally reads the status of a restore.
func (b *bench) tally(id string) runbook.RestoreStatus {
	b.t.Helper()
	status, err := b.store.RestoreStatus(b.t.Context(), id)
	require.NoError(b.t, err)
	return status
}
