package faults

import (
	"fmt"
	"net"

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
			plan: r.planner(workerPoints), say: r.say, broke: r.broke,
		})
	}
	for i := range r.orgs {
		if r.beside != nil {
			break // it answers the agents
		}
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
			env:  r.env(roles.Gateway), plan: r.planner(gatewayPoints), say: r.say, broke: r.broke,
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
