package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rollcall/devenv"
	"rollcall/inventory"
	"rollcall/runbook"
)

// writeEnv tells other commands where the servers are.
func (o *devOptions) writeEnv(stack *devStack) error {
	vars := []devenv.Var{
		{Name: "TEMPORAL_ADDRESS", Value: stack.temporal.Address()},
		{Name: "TEMPORAL_NAMESPACE", Value: stack.temporal.Namespace()},
		{Name: envDatabaseURL, Value: stack.postgres.URL()},
		{Name: "ROLLCALL_UI_URL", Value: stack.temporal.UIURL()},
		{Name: envGatewayURL, Value: stack.gatewayURL()},
		{Name: envCACert, Value: stack.caCert()},
		{Name: envCAKey, Value: stack.caKey()},
	}
	if stack.queue != runbook.DefaultTaskQueue {
		vars = append(vars, devenv.Var{Name: "ROLLCALL_TASK_QUEUE", Value: stack.queue})
	}
	return devenv.WriteEnv(o.envFile(), vars)
}

// explain says where everything is and what to do next.
func (o *devOptions) explain(stack *devStack) error {
	self := o.self()
	return o.say(stack, workflowsURL(stack, ""), []string{
		self + " import -f examples/fleet.yaml",
		self + " restore",
		self + " status",
		self + " get devices",
	})
}

// explainDemo says the same when the devices have reported: what is paused, and how it is resumed.
func (o *devOptions) explainDemo(ctx context.Context, stack *devStack, d *demo) error {
	self := o.self()
	commands := []string{self + " status", self + " get devices --field-selector=status.summary.status=ConflictPaused"}
	entries, err := d.open(ctx)
	if err != nil {
		return err
	}
	for _, state := range []runbook.State{runbook.StateConflictPaused, runbook.StateAwaitingReconnect} {
		i := slices.IndexFunc(entries, func(e inventory.RollEntry) bool { return e.State == state })
		if i >= 0 {
			commands = append(commands, d.commandsFor(self, entries[i])...)
		}
	}
	commands = append(commands, self+` resume devices -l environment=staging --reason "staging is ours" --dry-run`)
	return o.say(stack, workflowsURL(stack, fmt.Sprintf("%s=%q", runbook.AttributeDeviceStatus, runbook.StateConflictPaused)), commands)
}

// commandsFor are the commands that end the wait of a device.
func (d *demo) commandsFor(self string, entry inventory.RollEntry) []string {
	if entry.State == runbook.StateConflictPaused {
		return []string{
			self + " describe device " + quote(entry.Name),
			self + " resume device " + quote(entry.Name) + " --expect-version " + quote(runbook.OrZero(entry.Reported)) + ` --reason "checked on site"`,
		}
	}
	version := runbook.OrZero(entry.Restored)
	for _, r := range d.plan.Stragglers {
		if r.Device == entry.Name {
			version = r.RenderedVersion
		}
	}
	return []string{self + " reconnect device " + quote(entry.Name) + " --rendered-version " + quote(version)}
}

func (o *devOptions) say(stack *devStack, ui string, commands []string) error {
	temporal := "temporal"
	if path, err := devenv.FindTemporal(); err == nil && !onPath(path) {
		temporal = quote(o.fromHere(path))
	}
	source := ". " + quote(o.sourceable())
	if o.dir == filepath.Join(o.io.Dir, ".rollcall") {
		// Our own commands look there by themselves.
		commands = append(commands, source+" && "+temporal+" workflow list")
	} else {
		commands = append(append([]string{source}, commands...), temporal+" workflow list")
	}
	_, err := fmt.Fprintf(o.io.Stdout, `
Rollcall is up; Ctrl-C ends it, and its data stay.

  web UI   %s
  gateway  %s
  logs     %s

Try, in another terminal in this folder:

  %s

`, ui, stack.gatewayURL(), o.fromHere(stack.logDir()), strings.Join(commands, "\n  "))
	if err != nil {
		return fmt.Errorf("say what to do next: %w", err)
	}
	return nil
}

// sourceable is the path of the env file as a shell's dot takes it, which looks for a bare name on the PATH.
func (o *devOptions) sourceable() string {
	path := o.fromHere(o.envFile())
	if !strings.Contains(path, "/") {
		path = "./" + path
	}
	return path
}

// workflowsURL is the web UI's list of workflows that match query; empty is all of them.
func workflowsURL(stack *devStack, query string) string {
	address := stack.temporal.UIURL() + "/namespaces/" + stack.temporal.Namespace() + "/workflows"
	if query != "" {
		address += "?query=" + url.QueryEscape(query)
	}
	return address
}

// self is how this program was called, so that what is printed can be pasted.
func (o *devOptions) self() string {
	if filepath.IsAbs(os.Args[0]) {
		return quote(o.fromHere(os.Args[0]))
	}
	return quote(os.Args[0])
}

// fromHere is path as it is shortest to type: relative where it is below the folder that the command runs in.
func (o *devOptions) fromHere(path string) string {
	if rel, err := filepath.Rel(o.io.Dir, path); err == nil && filepath.IsLocal(rel) {
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
