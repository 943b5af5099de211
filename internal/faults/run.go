package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	"rollcall/internal/fault"
	"rollcall/internal/invariants"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// Options say how a run goes.
type Options struct {
	Seed uint64
	// For is how long actors act and faults happen. Coming to rest takes longer.
	For time.Duration
	// Devices is how many each of the two organisations has, and Actors how many act at a time.
	Devices, Actors int
	// Calm is a run without faults.
	Calm bool
	// Bug is a planted bug that workers and gateways have; empty is none.
	Bug string
	// Programs is the folder with worker, gateway and starter, built with the tag faults, and Dir one for files.
	Programs, Dir string
}

// Result is what a run has found.
type Result struct {
	Seed  uint64
	Calls []Call
	// Illegal are the calls of each device that the model does not allow in any order.
	Illegal    [][]Call
	Violations []invariants.Violation
	// Failures are answers that no caller may get.
	Failures []error
	Timeline []string
}

// Bad reports whether anything is wrong.
func (r Result) Bad() bool { return len(r.Illegal)+len(r.Violations)+len(r.Failures) > 0 }

// Summary counts the calls by what they asked for and what was answered.
func (r Result) Summary() string {
	counts := map[string]int{}
	for _, c := range r.Calls {
		counts[fmt.Sprintf("%s %s %s", c.Via, c.Kind, c.Answer)]++
	}
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %d calls", r.Seed, len(r.Calls))
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, ", %s %d", what, counts[what])
	}
	met := 0
	for _, line := range r.Timeline {
		if strings.Contains(line, "killed at") {
			met++
		}
	}
	fmt.Fprintf(&text, "; processes killed at a point: %d", met)
	return text.String()
}

// String is the seed, what is wrong, and the timeline.
func (r Result) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %d calls\n", r.Seed, len(r.Calls))
	for _, calls := range r.Illegal {
		fmt.Fprintln(&text, "no order of these calls is allowed:")
		for _, c := range calls {
			fmt.Fprintf(&text, "  %s – %s  %s\n", c.Start.Format("05.000"), c.End.Format("05.000"), c)
		}
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&text, "%s: %s %s %s: %s\n", v.Invariant, v.RestoreID, v.OrgID, v.Name, v.Message)
	}
	for _, err := range r.Failures {
		fmt.Fprintln(&text, err)
	}
	for _, line := range r.Timeline {
		fmt.Fprintln(&text, line)
	}
	return text.String()
}

// organisation is one of the two, with a gateway and a restore of its own.
type organisation struct {
	id, ref, gateway, restoreID string
}

const taskQueue = "faults"

// run is a run under way.
type run struct {
	options   Options
	dir       string
	servers   *servers
	orgs      []organisation
	processes []*process
	// store and temporal are the harness's own, past the proxies.
	store    *inventory.Store
	temporal client.Client

	mu     sync.Mutex
	calm   bool // the processes that start now have no plan
	plans  *rand.Rand
	result Result
}

func (r *run) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Timeline = append(r.result.Timeline, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Failures = append(r.result.Failures, err)
}

func (r *run) record(c Call) {
	c.End = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Calls = append(r.result.Calls, c)
}

func (r *run) program(name string) string { return filepath.Join(r.options.Programs, name) }

// env is the environment of a program with the rights of a role.
func (r *run) env(role string) []string {
	return []string{
		"ROLLCALL_DATABASE_URL=" + r.servers.databaseURL(role), "ROLLCALL_TASK_QUEUE=" + taskQueue,
		"TEMPORAL_ADDRESS=" + r.servers.toTemporal.Listen, "TEMPORAL_NAMESPACE=" + client.DefaultNamespace,
		fault.EnvBug + "=" + r.options.Bug, "HOME=" + r.dir,
	}
}

// Run plays a roll call and returns what it has found. The error is a failure of the harness itself.
func Run(ctx context.Context, options Options) (result Result, err error) {
	r := &run{options: options, dir: options.Dir, calm: options.Calm, plans: rand.New(rand.NewPCG(options.Seed, 1))}
	r.result.Seed = options.Seed
	if r.servers, err = startServers(ctx, options.Dir); err != nil {
		return r.result, err
	}
	defer func() { err = errors.Join(err, r.servers.stop()) }()
	if err := r.prepare(ctx); err != nil {
		return r.result, err
	}
	defer r.store.Close()
	defer r.temporal.Close()
	defer func() {
		for _, p := range r.processes {
			p.stop()
		}
	}()
	if err := r.startPrograms(); err != nil {
		return r.result, err
	}
	if err := r.act(ctx); err != nil {
		return r.result, err
	}
	err = r.check(ctx)
	return r.result, err
}

// prepare makes the schema, the roles, the organisations and their devices.
func (r *run) prepare(ctx context.Context) error {
	url := r.servers.postgres.URL()
	if _, err := inventory.Migrate(ctx, url); err != nil {
		return err
	}
	if err := inventory.CreateRoles(ctx, url); err != nil {
		return err
	}
	var err error
	if r.store, err = inventory.Open(ctx, url); err != nil {
		return err
	}
	if r.temporal, err = client.DialContext(ctx, client.Options{HostPort: r.servers.temporal.Address()}); err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	r.orgs = []organisation{{ref: runbook.DefaultOrg}, {ref: "acme"}}
	for i := range r.orgs {
		o := &r.orgs[i]
		if o.id, err = r.store.CreateOrg(ctx, o.ref); err != nil {
			return err
		}
		o.restoreID = "restore-of-" + o.ref
		var docs []string
		for n := range r.options.Devices {
			docs = append(docs, fmt.Sprintf(`{"apiVersion": "flightctl.io/v1beta1", "kind": "Device",
				"metadata": {"name": "d-%03d", "annotations": {%q: "%d"}}, "spec": {}, "status": {}}`,
				n, runbook.AnnotationRenderedVersion, restoredVersion))
		}
		text := strings.NewReader(strings.Join(docs, "\n---\n"))
		if _, err := r.store.Import(ctx, text, inventory.ImportOptions{OrgID: o.id}); err != nil {
			return err
		}
	}
	return nil
}

// startPrograms starts two workers, and a gateway for each organisation, each with the rights of its role.
func (r *run) startPrograms() error {
	for i := range 2 {
		r.processes = append(r.processes, &process{
			name: fmt.Sprintf("worker-%d", i+1), program: r.program("worker"),
			args: []string{"--skip-search-attributes"}, env: r.env(roles.Worker), plan: r.planner(workerPoints), say: r.say,
		})
	}
	for i := range r.orgs {
		o := &r.orgs[i]
		listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that stays the same when the process is killed
		if err != nil {
			return fmt.Errorf("find a port for a gateway: %w", err)
		}
		o.gateway = listener.Addr().String()
		if err := listener.Close(); err != nil {
			return fmt.Errorf("find a port for a gateway: %w", err)
		}
		r.processes = append(r.processes, &process{
			name: "gateway-" + o.ref, program: r.program("gateway"),
			args: []string{"--plain-http", "--listen", o.gateway, "--org", o.ref},
			env:  r.env(roles.Gateway), plan: r.planner(gatewayPoints), say: r.say,
		})
	}
	for _, p := range r.processes {
		if err := p.start(r.dir); err != nil {
			return err
		}
	}
	return nil
}

// The points at which programs are killed or frozen.
var (
	workerPoints = []string{
		fault.BeforeCommit, fault.AfterCommit, fault.BeforeTransitions, fault.AfterTransitions,
		"RespondWorkflowTaskCompleted.before", "RespondWorkflowTaskCompleted.after", "ChildStart.before", "ChildStart.after",
		"RespondActivityTaskCompleted.before", "RespondActivityTaskCompleted.after", "SignalWorkflowExecution.after",
	}
	gatewayPoints = []string{
		"SignalWorkflowExecution.before", "SignalWorkflowExecution.after", fault.BeforeNote, fault.AfterNote,
		fault.BeforeCommit, fault.AfterCommit,
	}
)

// faulty reports whether faults are to happen now.
func (r *run) faulty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.calm
}

// planner draws what happens to a process: it is killed at one of the points, sooner or later.
func (r *run) planner(points []string) func() string {
	return func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.calm {
			return ""
		}
		point := points[r.plans.IntN(len(points))]
		return fmt.Sprintf("%s#%d:kill", point, 1+r.plans.IntN(40))
	}
}

// act lets actors act and faults happen for as long as the options say.
func (r *run) act(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, r.options.For)
	defer cancel()
	var all sync.WaitGroup
	for i := range r.orgs {
		all.Go(func() { r.restore(limited, r.orgs[i]) })
	}
	for i := range r.options.Actors {
		a := &actor{run: r, id: i, random: rand.New(rand.NewPCG(r.options.Seed, uint64(i)+2)), http: &http.Client{}}
		all.Go(func() { a.act(limited) })
	}
	var err error
	if !r.options.Calm {
		all.Go(func() { err = r.breakThings(limited, ctx) })
	}
	all.Wait()
	return err
}

// restore starts the restore of an organisation.
func (r *run) restore(ctx context.Context, o organisation) {
	for ctx.Err() == nil {
		_, err := r.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: runbook.RestoreWorkflowID(o.restoreID), TaskQueue: taskQueue,
		}, runbook.RestoreWorkflowName, runbook.RestoreInput{
			RestoreID: o.restoreID, OrgID: o.id, By: "harness", BatchSize: 20, WatchInterval: "2s",
		})
		if err == nil {
			return
		}
		r.say("start of %s: %v", o.restoreID, err)
		wait(ctx, askAgain)
	}
}
