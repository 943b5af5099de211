package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"rollcall/internal/authority"
	"rollcall/internal/fault"
	"rollcall/inventory"
	"rollcall/runbook"
)

// Options say how a run goes.
type Options struct {
	Seed uint64
	// For is how long actors act and faults happen. Coming to rest takes longer.
	For time.Duration
	// Devices is how many each of the two organisations has, and Actors how many act at a time.
	Devices, Actors int
	// Calls ends the acting when so many calls were made; 0 is no bound but For.
	Calls int
	// Calm is a run without faults.
	Calm bool
	// Beside is a roll call of one organisation beside a fake Flight Control, which answers the agents.
	Beside bool
	// Disasters adds what an operator has a part in: PostgreSQL is put back to an earlier moment, Temporal loses its
	// database, and disks are full.
	Disasters bool
	// PutBacks has PostgreSQL put back twice in the place of the loss of Temporal's database, first to a moment at which
	// devices were still put on the roll.
	PutBacks bool
	// Cancel has an operator cancel a restore and take it up again.
	Cancel bool
	// Given are servers that run already, which are left alone; nil is servers of the run's own.
	Given *Given
	// Bug is a planted bug that workers and gateways have; empty is none.
	Bug string
	// Programs returns the folder with worker, gateway and starter, built with the tag faults. It is called when the
	// servers run.
	Programs func() (string, error)
	// Dir is a folder for files.
	Dir string
}

// organisation is one of the two, with a gateway and a restore of its own.
type organisation struct {
	id, ref, gateway, restoreID string
	newcomers                   []newcomer
}

const taskQueue = "faults"

// run is a run under way.
type run struct {
	options   Options
	dir       string
	programs  string
	servers   *servers
	orgs      []organisation
	processes []*process
	// beside is the fake Flight Control, with what the workers' environment says about it; nil stands alone.
	beside    *beside
	besideEnv []string
	// store and temporal are the harness's own, past the proxies.
	store    *inventory.Store
	temporal client.Client
	// ca is the authority of the gateways and of the agents.
	ca *authority.CA
	// begun is set once the devices were on the roll.
	begun atomic.Bool

	// halted are processes that have halted at a point. During a disaster, which is when striking is set, none does.
	halted   chan *process
	striking atomic.Bool

	mu     sync.Mutex
	enough context.CancelFunc // ends the acting
	calm   bool               // the processes that start now have no plan
	slow   bool               // the processes that start now are held up at each commit
	plans  *rand.Rand
	agents map[string]*http.Client
	// planned are the plans that operators have made.
	planned []planned
	// unrolled are the times for which a roll was lost that had been made.
	unrolled []unrolled
	result   Result
}

func (r *run) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Timeline = append(r.result.Timeline, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// broke counts what was broken on purpose.
func (r *run) broke(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result.Broken == nil {
		r.result.Broken = map[string]int{}
	}
	r.result.Broken[what]++
}

// leaveOut says what the run was to break and could not.
func (r *run) leaveOut(err error) {
	r.say("left out: %v", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.LeftOut = append(r.result.LeftOut, err.Error())
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
	if len(r.result.Calls) == r.options.Calls {
		r.enough()
	}
}

func (r *run) program(name string) string { return filepath.Join(r.programs, name) }

// env is the environment of a program with the rights of a role.
func (r *run) env(role string) []string {
	return []string{
		"ROLLCALL_DATABASE_URL=" + r.servers.databaseURL(role), "ROLLCALL_TASK_QUEUE=" + taskQueue,
		"TEMPORAL_ADDRESS=" + r.servers.temporalAddress(), "TEMPORAL_NAMESPACE=" + r.servers.namespace,
		fault.EnvBug + "=" + r.options.Bug, "HOME=" + r.dir,
	}
}

// Run plays a roll call and returns what it has found. The error is a failure of the harness itself.
func Run(ctx context.Context, options Options) (result Result, err error) {
	r := &run{
		halted:  make(chan *process, 8),
		options: options, dir: options.Dir, calm: options.Calm, slow: options.PutBacks,
		plans: rand.New(rand.NewPCG(options.Seed, 1)),
	}
	r.result.Seed = options.Seed
	if r.servers, err = r.startServers(ctx); err != nil {
		return r.result, err
	}
	defer func() { err = errors.Join(err, r.servers.stop()) }()
	if err := r.prepare(ctx); err != nil {
		return r.result, err
	}
	defer r.store.Close()
	defer r.temporal.Close()
	if r.programs, err = options.Programs(); err != nil {
		return r.result, err
	}
	defer func() {
		for _, p := range r.processes {
			p.stop()
		}
		for _, agent := range r.agents {
			agent.CloseIdleConnections()
		}
	}()
	if options.Beside {
		if err := r.startBeside(); err != nil {
			return r.result, err
		}
		defer func() { err = errors.Join(err, r.beside.stop()) }()
	}
	if err := r.startPrograms(); err != nil {
		return r.result, err
	}
	r.say("programs are started")
	if err := r.act(ctx); err != nil {
		return r.result, err
	}
	r.say("acting has ended")
	err = r.check(ctx)
	r.say("checked")
	return r.result, err
}

// prepare makes the schema, the roles, the organisations and their devices.
func (r *run) prepare(ctx context.Context) error {
	url := r.servers.database()
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
	options := client.Options{
		HostPort: r.servers.address(), Namespace: r.servers.namespace,
		ConnectionOptions: client.ConnectionOptions{
			DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(countSent)},
		},
	}
	if r.temporal, err = client.DialContext(ctx, options); err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	r.orgs = []organisation{{ref: runbook.DefaultOrg}, {ref: "acme"}}
	if r.options.Beside {
		r.orgs = r.orgs[:1] // the fake's agents are of this one
	}
	for i := range r.orgs {
		o := &r.orgs[i]
		if o.id, err = r.store.CreateOrg(ctx, o.ref); err != nil {
			return err
		}
		o.restoreID = "restore-of-" + o.ref
		if err := r.importBackup(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// parts is how many selections of devices there are, by a label.
const parts = 5

// importBackup makes the devices of an organisation, and the enrollment requests that its backup has.
func (r *run) importBackup(ctx context.Context, o *organisation) error {
	var docs []string
	for n := range r.options.Devices {
		docs = append(docs, fmt.Sprintf(`{"apiVersion": "flightctl.io/v1beta1", "kind": "Device",
			"metadata": {"name": %q, "labels": {"part": "%d"}, "annotations": {%q: "%d"}}, "spec": {},
			"status": {"config": {"renderedVersion": "%d"}}}`,
			deviceName(n), n%parts, runbook.AnnotationRenderedVersion, restoredVersion, restoredVersion))
	}
	for n := range r.options.Devices / 2 {
		if r.options.Beside {
			break // they are approved there
		}
		asks, err := newNewcomer(n)
		if err != nil {
			return err
		}
		o.newcomers = append(o.newcomers, asks)
		if asks.inBackup {
			docs = append(docs, asks.request())
			c := asks.call(0, o, Post)
			c.Via, c.Answer = "backup", Accepted
			r.record(c)
		}
	}
	_, err := r.store.Import(ctx, strings.NewReader(strings.Join(docs, "\n---\n")), inventory.ImportOptions{OrgID: o.id})
	return err
}

// act lets actors act and faults happen for as long as the options say. A run without faults is about what happens to
// the devices that are waited for, and begins when they are. So does one beside Flight Control: what its agents took
// before would not count.
func (r *run) act(ctx context.Context) error {
	if r.options.Calm || r.beside != nil {
		r.restoreAll(ctx)
		if err := r.awaitBegun(ctx); err != nil {
			return err
		}
	}
	if r.beside != nil {
		if err := r.beside.startAgents(ctx, r.options.For); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, r.options.For)
	defer cancel()
	r.enough = cancel
	r.say("acting begins")
	var all sync.WaitGroup
	if !r.options.Calm && r.beside == nil {
		all.Go(func() { r.restoreAll(limited) })
	}
	for i := range r.options.Actors {
		a := &actor{run: r, id: i, random: rand.New(rand.NewPCG(r.options.Seed, uint64(i)+2))}
		all.Go(func() { a.act(limited) })
	}
	var broken, cancelled error
	if !r.options.Calm {
		all.Go(func() { broken = r.breakThings(limited, ctx) })
	}
	if r.options.Cancel {
		all.Go(func() { cancelled = r.cancelAndTakeUp(limited, ctx) })
	}
	all.Wait()
	return errors.Join(broken, cancelled)
}

func (r *run) restoreAll(ctx context.Context) {
	var all sync.WaitGroup
	for _, o := range r.orgs {
		all.Go(func() { r.restore(ctx, o) })
	}
	all.Wait()
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
