package devstack

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"rollcall/internal/devenv"
	"rollcall/runbook"
	"rollcall/starter/demo"
	"rollcall/starter/printer"
)

// writeEnv tells other commands where the servers are.
func (o *Options) writeEnv(stack *stack) error {
	vars := []devenv.Var{
		{Name: "TEMPORAL_ADDRESS", Value: stack.temporal.Address()},
		{Name: "TEMPORAL_NAMESPACE", Value: stack.temporal.Namespace()},
		{Name: EnvDatabaseURL, Value: stack.postgres.URL()},
		{Name: EnvUIURL, Value: stack.temporal.UIURL()},
		{Name: EnvGatewayURL, Value: stack.gatewayURL()},
		{Name: EnvCACert, Value: stack.caCert()},
		{Name: EnvCAKey, Value: stack.caKey()},
	}
	vars = append(vars, stack.flightctlVars()...)
	if stack.queue != runbook.DefaultTaskQueue {
		vars = append(vars, devenv.Var{Name: EnvTaskQueue, Value: stack.queue})
	}
	return devenv.WriteEnv(o.envFile(), vars)
}

// explain says where everything is and what to do next.
func (o *Options) explain(stack *stack) error {
	self := o.self()
	return o.say(stack, workflowsURL(stack, ""), []string{
		self + " import -f examples/fleet.yaml",
		self + " restore",
		self + " status",
		self + " get devices",
	})
}

func (o *Options) say(stack *stack, ui string, commands []string) error {
	temporal := "temporal"
	if path, err := devenv.FindTemporal(); err == nil && !onPath(path) {
		temporal = printer.Quote(o.fromHere(path))
	}
	source := ". " + printer.Quote(o.sourceable())
	if o.Dir == filepath.Join(o.IO.Dir, ".rollcall") {
		// Our own commands look there by themselves.
		commands = append(commands, source+" && "+temporal+" workflow list")
	} else {
		commands = append(append([]string{source}, commands...), temporal+" workflow list")
	}
	_, err := fmt.Fprintf(o.IO.Stdout, `
Rollcall is up; Ctrl-C ends it, and its data stay.

  web UI   %s
  %s  %s
  logs     %s

Try, in another terminal in this folder:

  %s

`, ui, o.agentsLabel(), stack.gatewayURL(), o.fromHere(stack.logDir()), strings.Join(commands, "\n  "))
	if err != nil {
		return fmt.Errorf("say what to do next: %w", err)
	}
	return nil
}

// agentsLabel names what agents connect to.
func (o *Options) agentsLabel() string {
	if o.FlightctlFake {
		return "agents "
	}
	return "gateway"
}

// sourceable is the path of the env file as a shell's dot takes it, which looks for a bare name on the PATH.
func (o *Options) sourceable() string {
	path := o.fromHere(o.envFile())
	if !strings.Contains(path, "/") {
		path = "./" + path
	}
	return path
}

// workflowsURL is the web UI's list of workflows that match query; empty is all of them.
func workflowsURL(stack *stack, query string) string {
	address := stack.temporal.UIURL() + "/namespaces/" + stack.temporal.Namespace() + "/workflows"
	if query != "" {
		address += "?query=" + url.QueryEscape(query)
	}
	return address
}

// self is how this program was called, so that what is printed can be pasted.
func (o *Options) self() string {
	if filepath.IsAbs(os.Args[0]) {
		return printer.Quote(o.fromHere(os.Args[0]))
	}
	return printer.Quote(os.Args[0])
}

// fromHere is path as it is shortest to type: relative where it is below the folder that the command runs in.
func (o *Options) fromHere(path string) string {
	if rel, err := filepath.Rel(o.IO.Dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

func onPath(path string) bool {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.Join(dir, filepath.Base(path)) == path {
			return true
		}
	}
	return false
}

// explainDemo says the same when the devices have reported: what is paused, and how it is resumed.
func (o *Options) explainDemo(ctx context.Context, stack *stack, d *demo.Demo) error {
	commands, err := d.NextCommands(ctx, o.self())
	if err != nil {
		return err
	}
	return o.say(stack, workflowsURL(stack,
		fmt.Sprintf("%s=%q", runbook.AttributeDeviceStatus, runbook.StateConflictPaused)), commands)
}
