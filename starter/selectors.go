package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"rollcall/inventory"
	"rollcall/inventory/selector"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// selectors are the two flags that choose resources by what they are.
type selectors struct {
	label, field string
	labels       labels.Selector
	fields       selector.FieldSelector
}

func (s *selectors) bind(cmd *cobra.Command) {
	cmd.Flags().VarP((*joined)(&s.label), "selector", "l", "label `selector`, such as environment=production,tier!=test")
	cmd.Flags().StringVar(&s.field, "field-selector", "", "field `selector`, such as status.summary.status=ConflictPaused")
}

// joined is a flag that may be given several times, and is then all that was given with commas between.
type joined string

// String is what was given.
func (j *joined) String() string { return string(*j) }

// Type is what help calls the value.
func (j *joined) Type() string { return "string" }

// Set adds what is given.
func (j *joined) Set(s string) error {
	if *j != "" {
		s = string(*j) + "," + s
	}
	*j = joined(s)
	return nil
}

// complete reads the selectors of kind k. A selector that is given and chooses nothing is a usage error: it is more
// likely a script's empty variable than a wish for everything.
func (s *selectors) complete(cmd *cobra.Command, k kind) error {
	if cmd.Flags().Changed("selector") {
		selector, err := labels.Parse(s.label)
		if err != nil {
			return usagef("--selector: %w", err)
		}
		if selector.Empty() || strings.Trim(s.label, ", ") == "" {
			return usagef("--selector is empty; leave it out to mean no selection")
		}
		s.labels = selector
	}
	if cmd.Flags().Changed("field-selector") {
		if strings.Trim(s.field, ", ") == "" {
			return usagef("--field-selector is empty; leave it out to mean no selection")
		}
		fields, err := selector.ParseFieldSelector(k.plural, s.field)
		if err != nil {
			return usagef("--field-selector: %w", err)
		}
		if fields.Empty() {
			return usagef("--field-selector is empty; leave it out to mean no selection")
		}
		s.fields = fields
	}
	return nil
}

func (s *selectors) given() bool { return s.labels != nil || !s.fields.Empty() }

func (s *selectors) query(orgID string, names []string) inventory.Query {
	return inventory.Query{OrgID: orgID, Names: names, Labels: s.labels, Fields: s.fields}
}

// distinct leaves out repeated names and keeps their order.
func distinct(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// several are the flags of a command that sends one message to one device by name, or to several by names or a
// selector.
type several struct {
	selectors
	request
	output *printer.Format
	dryRun bool
	names  []string
}

func (s *several) bind(cmd *cobra.Command) {
	s.selectors.bind(cmd)
	s.request.bind(cmd)
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "with several devices: show who would be asked, and change nothing")
	s.output = printer.BindFormat(cmd, printer.FormatJSON, printer.FormatYAML)
}

// complete reads which devices are meant. one reports whether a single device was named, which is answered in words.
func (s *several) complete(cmd *cobra.Command, args []string) (one bool, err error) {
	_, names, err := parseTarget(args, deviceKind)
	if err != nil {
		return false, err
	}
	s.names = distinct(names)
	if err := errors.Join(s.selectors.complete(cmd, deviceKind), s.request.complete(cmd)); err != nil {
		return false, err
	}
	switch {
	case len(s.names) > 0 && s.given():
		return false, usagef("name devices, or select them with --selector or --field-selector, but not both")
	case len(s.names) == 0 && !s.given():
		return false, usagef(
			"say which devices: name them (device NAME, or device/NAME), or use --selector or --field-selector")
	}
	return len(s.names) == 1 && !s.dryRun && s.output.Value == printer.FormatText, nil
}

// bulk is what a command sends to several devices.
type bulk struct {
	*operator
	// update is the name of the update, and of the command. done is what it does to a device.
	update, done string
	// version is the version that the message to each device is about; empty where it is about none.
	version string
	// act is what is decided, apart from the targets.
	act runbook.DecisionInput
	// message is what one device is sent.
	message func(decided ask.Decided, name string) any
	// may reports, as a *runbook.Refusal, what a device whose lifecycle has this status would answer as it stands.
	may func(d inventory.DevicePosition, lifecycle string) error
	// flags are those of the command that say what the message says.
	flags   []string
	timeout time.Duration
}

// tellOne sends a message to the device of a name, and returns its answer.
func (g *globals) tellOne(
	ctx context.Context, s *several, b bulk, name string,
) (orgID string, a runbook.DeviceAnswer, err error) {
	store, orgID, err := g.openOrg(ctx)
	if err != nil {
		return orgID, a, err
	}
	defer store.Close()
	answers, err := g.tellEach(ctx, store, s, b, nil, []inventory.DevicePosition{{OrgID: orgID, Name: name}})
	if err != nil {
		return orgID, a, err
	}
	return orgID, answers[0], nil
}

// tellSeveral sends a message to several devices, and reports what became of each.
func (g *globals) tellSeveral(ctx context.Context, s *several, b bulk) error {
	store, orgID, err := g.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	found, err := store.Position(ctx, s.query(orgID, s.names))
	if err != nil {
		return err
	}
	targets, skipped := withMissing(found, orgID, s.names), 0
	if len(s.names) == 0 {
		targets = slices.DeleteFunc(found, func(d inventory.DevicePosition) bool { return !d.State.Open() })
		skipped = len(found) - len(targets)
	}
	report := printer.NewToldReport(b.done, skipped)
	if s.dryRun {
		lifecycles, err := readLifecycles(ctx, store, orgID, targets)
		if err != nil {
			return err
		}
		report.DryRun = true
		for _, d := range targets {
			told := printer.ToldDevice{
				Name: d.Name, State: d.State, RestoredVersion: d.Restored, ReportedVersion: d.Reported,
			}
			if refusal := wouldRefuse(ctx, store, b, d, lifecycles[d.Name]); refusal != nil {
				report.Add(told, refusal.Code, refusal.Message)
				continue
			}
			report.Add(told, "", "")
		}
		return finishReport(g, s.output, report)
	}
	restoreID, err := store.LastRestore(ctx, orgID)
	if err != nil {
		return err
	}
	command := append([]string{restoreID, orgID, s.label, s.field, b.as, b.reason}, b.flags...)
	journal, targets := goOn(g, &s.request, &report.Outcomes, b.update, command, s.names, targets,
		func(d inventory.DevicePosition) string { return d.Name }, againDevice(orgID))
	answers, err := g.tellEach(ctx, store, s, b, journal, targets)
	for i, a := range answers {
		told := printer.ToldDevice{
			Name: targets[i].Name, State: a.State, RestoredVersion: a.Restored, ReportedVersion: a.Reported,
		}
		report.Add(told, a.Code, a.Message)
	}
	g.endJournal(journal, &report.Outcomes, err)
	if err != nil {
		return err
	}
	report.Interrupted = ctx.Err() != nil
	return finishReport(g, s.output, report)
}

// wouldRefuse is what a device would answer as it stands; nil where it would accept. One that is gone from the
// inventory leaves the roll call with any message.
func wouldRefuse(
	ctx context.Context, store *inventory.Store, b bulk, d inventory.DevicePosition, lifecycle string,
) *runbook.Refusal {
	switch {
	case d.State == "":
		place, err := store.NewestPlace(ctx, d.OrgID, d.Name)
		if err == nil && place != nil && place.State.Open() {
			return nil
		}
		return runbook.Refuse(runbook.CodeNotFound, "there is no device %q in organisation %s", d.Name,
			runbook.OrgName(d.OrgID))
	case !d.State.Open() || d.RestoreID == "":
		return runbook.Refuse(runbook.CodeNoRollCall, "no roll call waits for device %q: it is %s", d.Name, d.State)
	}
	return runbook.AsRefusal(b.may(d, lifecycle))
}

// tellEach puts the message to every target's workflow, and returns the answers in the order of the targets.
func (g *globals) tellEach(
	ctx context.Context, store *inventory.Store, s *several, b bulk, journal *ask.Journal,
	targets []inventory.DevicePosition,
) ([]runbook.DeviceAnswer, error) {
	if len(targets) == 0 {
		return nil, nil
	}
	c, err := g.dialWorkers(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := b.act
	in.OrgID = targets[0].OrgID
	for _, d := range targets {
		in.Targets = append(in.Targets, runbook.DecisionTarget{Name: d.Name, Version: b.version})
	}
	decided, err := b.decide(ctx, g, c, in)
	if err != nil {
		return nil, err
	}
	startTimeout := ask.StartTimeout
	if len(targets) == 1 {
		startTimeout = b.timeout
	}
	t := &ask.Teller{
		Client: c, Store: store, Update: b.update, RequestID: s.requestID, Decided: decided, Timeout: b.timeout,
		Request:    func(name string) any { return b.message(decided, name) },
		StartUntil: time.Now().Add(startTimeout), Again: b.flags, Journal: journal,
	}
	return ask.Each(ctx, g.io, targets, t.Ask), nil
}

// notDone is how a command ends whose one device has not accepted the message.
func notDone(name string, r *runbook.Refusal) error {
	switch r.Code {
	case runbook.CodeNotFound, runbook.CodeNoRollCall, runbook.CodeOutcomeUnknown, runbook.CodeNotAsked:
		return r
	}
	return fmt.Errorf("device %q: refused (%s): %w", name, r.Code,
		runbook.Refuse(r.Code, "%s", printer.OneLine(r.Message)))
}

// request is the id of a decision, under which it can be asked for again.
type request struct {
	requestID string
	// generated reports whether requestID is ours and not the human's.
	generated bool
}

func (r *request) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.requestID, "request-id", "",
		"`id` of this decision; the same one again gets the first answer (default a new one)")
}

func (r *request) complete(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("request-id") {
		r.requestID, r.generated = uuid.NewString(), true
	}
	if r.requestID == "" {
		return usagef("--request-id is empty")
	}
	return nil
}

// goOn opens the journal of a decision about several targets, by names or a selector, and returns who is left to be
// asked. command is what tells the command apart from the same verb with other flags. Its first element is the restore
// that the decision is about, so that the same command after a new restore is a new decision. name and asked are as in
// ask.GoOn.
func goOn[T any](
	g *globals, r *request, outcomes *printer.Outcomes, verb string, command, names []string, targets []T,
	name func(T) string, asked func(selected T, name, version string) T,
) (*ask.Journal, []T) {
	if !r.generated || len(names) == 1 {
		return nil, targets
	}
	journal := g.journal(verb, append(command, names...)...)
	if journal == nil {
		return nil, targets
	}
	r.requestID, outcomes.AnsweredBefore = journal.RequestID, journal.AnsweredCount()
	return journal, ask.GoOn(journal, targets, name, asked)
}

// againDevice is the target for a device that was asked about a version before an interruption.
func againDevice(orgID string) func(d inventory.DevicePosition, name, version string) inventory.DevicePosition {
	return func(d inventory.DevicePosition, name, version string) inventory.DevicePosition {
		d.OrgID, d.Name = orgID, name
		if version != "" {
			d.Reported = version
		}
		return d
	}
}

// finishReport prints the report of a bulk command, and ends the command with its exit code.
func finishReport(g *globals, output *printer.Format, r interface {
	Text(io.Writer) error
	ExitCode() int
},
) error {
	if err := output.Print(g.io.Stdout, r, r.Text); err != nil {
		return err
	}
	if code := r.ExitCode(); code != printer.ExitOK {
		return &exitError{code: code}
	}
	return nil
}
