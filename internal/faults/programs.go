package faults

import (
	"fmt"
	"net"
	"path/filepath"
	"time"

	"rollcall/internal/authority"
	"rollcall/internal/fault"
	"rollcall/inventory/roles"
)

// startPrograms starts two workers, or one where none is killed, and a gateway for each organisation, each with the
// rights of its role.
func (r *run) startPrograms() error {
	workers := 2
	if r.options.Calm {
		workers = 1
	}
	for i := range workers {
		r.processes = append(r.processes, &process{
			name: fmt.Sprintf("worker-%d", i+1), program: r.program("worker"),
			args: []string{"--skip-search-attributes"}, env: append(r.env(roles.Worker), r.besideEnv...),
			plan: r.planner(workerPoints), say: r.say, broke: r.broke, halts: r.hasHalted,
		})
	}
	if r.beside == nil { // it answers the agents
		if err := r.addGateways(); err != nil {
			return err
		}
	}
	for _, p := range r.processes {
		if err := p.start(r.dir); err != nil {
			return err
		}
	}
	return nil
}

// addGateways adds the gateways. Each has a port that stays the same when the process is killed.
func (r *run) addGateways() error {
	file := func(name string) string { return filepath.Join(r.dir, name) }
	var err error
	if r.ca, err = authority.LoadOrMake(file("ca.crt"), file("ca.key")); err != nil {
		return err
	}
	pair, err := r.ca.Server([]string{"127.0.0.1"}, 24*time.Hour)
	if err == nil {
		err = pair.Write(file("gateway.crt"), file("gateway.key"))
	}
	if err != nil {
		return err
	}
	for i := range r.orgs {
		o := &r.orgs[i]
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("find a port for a gateway: %w", err)
		}
		o.gateway = listener.Addr().String()
		if err := listener.Close(); err != nil {
			return fmt.Errorf("find a port for a gateway: %w", err)
		}
		r.processes = append(r.processes, &process{
			name: "gateway-" + o.ref, program: r.program("gateway"),
			args: []string{
				"--listen", o.gateway, "--org", o.ref, "--cert", file("gateway.crt"), "--key", file("gateway.key"),
				"--client-ca", file("ca.crt"), "--ca-cert", file("ca.crt"), "--ca-key", file("ca.key"),
			},
			env: r.env(roles.Gateway), plan: r.planner(gatewayPoints), say: r.say, broke: r.broke, halts: r.hasHalted,
		})
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

// slowly holds a process up at each commit, so that it takes long to put the devices on the roll.
const slowly = fault.BeforeCommit + "#1:delay=700ms"

// planner draws what happens to a process: it is killed at one of the points, sooner or later, or halts there until it
// is signalled.
func (r *run) planner(points []string) func() string {
	return func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case r.calm:
			return ""
		case r.slow:
			return slowly
		}
		point, action := points[r.plans.IntN(len(points))], "kill"
		if r.plans.IntN(4) == 0 {
			action = "stop"
		}
		return fmt.Sprintf("%s#%d:%s", point, 1+r.plans.IntN(40), action)
	}
}
