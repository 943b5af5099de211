package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv"
	"rollcall/internal/host"
	"rollcall/internal/settings"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/devstack"
	"rollcall/starter/printer"
)

// connectTimeout bounds how long a command waits for the database to answer at all.
const connectTimeout = 10 * time.Second

// globals are the flags that every command knows, and the way to the database and to Temporal.
type globals struct {
	io          printer.IO
	databaseURL string
	taskQueue   string
	org         string
	// elsewhere is the variable that keeps the command from the stack of its folder; empty where none does.
	elsewhere string
}

func (g *globals) bind(flags *pflag.FlagSet) {
	flags.StringVar(&g.databaseURL, "database-url", "", "PostgreSQL `URL` (default $"+devstack.EnvDatabaseURL+
		", or the content of the file $"+devstack.EnvDatabaseURL+settings.FileSuffix+")")
	flags.StringVar(&g.taskQueue, "task-queue", "",
		"Temporal task `queue` of the workers (default $ROLLCALL_TASK_QUEUE, else \""+runbook.DefaultTaskQueue+"\")")
	flags.StringVar(&g.org, "org", "",
		"`organisation`: its UUID, external id, display name, or \"default\" (restore: default is all of them)")
}

// refuseOrg refuses --org for a command that is about all organisations at once.
func (g *globals) refuseOrg(cmd *cobra.Command) error {
	if cmd.Flags().Changed("org") {
		return usagef("--org does not go with %s, which is about all organisations: leave it out", cmd.Name())
	}
	return nil
}

// openStore connects to the database and checks that its schema is the one this program was built for. The caller
// closes the store.
func (g *globals) openStore(ctx context.Context) (*inventory.Store, error) {
	url, err := g.database()
	if err != nil {
		return nil, err
	}
	connect, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	store, err := inventory.Open(connect, url)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := store.CheckSchema(connect); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// database is the URL of the database: the flag, the environment, or what a running `starter dev` wrote beside it.
func (g *globals) database() (string, error) {
	if g.databaseURL != "" {
		return g.databaseURL, nil
	}
	if err := g.findDev(); err != nil {
		return "", err
	}
	url, err := settings.Read(g.io.Env, devstack.EnvDatabaseURL)
	switch {
	case err == nil && url == "" && g.elsewhere != "":
		err = fmt.Errorf("no database is known: %s names another place than the `starter dev` that runs in this folder; "+
			"unset it to use that one, or set %s or --database-url", g.elsewhere, devstack.EnvDatabaseURL)
	case err == nil && url == "":
		err = errors.New("no database is known: set " + devstack.EnvDatabaseURL +
			" or --database-url, or run the command in the folder of a running `starter dev`")
	}
	return url, err
}

// findDev takes over what a `starter dev` that runs in this folder says in .rollcall/env. Who says which database they
// mean means Temporal to be somewhere else as well.
func (g *globals) findDev() error {
	if file, _ := g.io.Env(devstack.EnvDatabaseURL + settings.FileSuffix); g.databaseURL != "" || file != "" {
		return nil
	}
	_, elsewhere, err := devenv.LoadEnv(filepath.Join(g.io.Dir, devenv.DefaultDir))
	g.elsewhere = elsewhere
	var foreign *devenv.ForeignError
	if errors.As(err, &foreign) {
		fmt.Fprintf(g.io.Stderr, "warning: %v\n", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a running `starter dev`: %w", err)
	}
	return nil
}

// dial connects to Temporal. The caller closes the client.
func (g *globals) dial(ctx context.Context) (client.Client, error) {
	if err := g.findDev(); err != nil {
		return nil, err
	}
	c, err := g.io.Dial(ctx, host.DialOptions{Logger: g.logger()})
	if err != nil {
		return nil, fmt.Errorf("%w, or run the command in the folder of a running `starter dev`", err)
	}
	return c, nil
}

// logger takes what libraries have to say. People at a command line want its errors only.
func (g *globals) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(g.io.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// queue is the task queue that workflows are started on.
func (g *globals) queue() string {
	if g.taskQueue != "" {
		return g.taskQueue
	}
	if queue, ok := g.io.Env(devstack.EnvTaskQueue); ok && queue != "" {
		return queue
	}
	return runbook.DefaultTaskQueue
}

// orgID is the UUID of the organisation that the command works in: the one of --org, or the default one.
func (g *globals) orgID(ctx context.Context, store *inventory.Store) (string, error) {
	ref := g.org
	if ref == "" {
		ref = runbook.DefaultOrg
	}
	id, err := store.ResolveOrg(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("find organisation %q: %w", ref, err)
	}
	return id, nil
}

// openOrg opens the database, and finds the id of the organisation of --org in it. The caller closes the store.
func (g *globals) openOrg(ctx context.Context) (*inventory.Store, string, error) {
	store, err := g.openStore(ctx)
	if err != nil {
		return nil, "", err
	}
	orgID, err := g.orgID(ctx, store)
	if err != nil {
		return nil, "", errors.Join(err, store.Close())
	}
	return store, orgID, nil
}

// bindOutcomeTimeout is the flag of commands that wait for what becomes of a message.
func bindOutcomeTimeout(cmd *cobra.Command, timeout *time.Duration) {
	cmd.Flags().DurationVar(timeout, "timeout", 15*time.Second, "how long to wait for the outcome")
}

// webLink is where the web UI shows a workflow, all of its runs; empty where it is not known where the web UI is.
func (g *globals) webLink(workflowID string) string {
	address, ok := g.io.Env(devstack.EnvUIURL)
	if !ok || address == "" {
		return ""
	}
	namespace, ok := g.io.Env("TEMPORAL_NAMESPACE")
	if !ok || namespace == "" {
		var err error
		if namespace, err = host.Namespace(); err != nil {
			return ""
		}
	}
	return strings.TrimSuffix(address, "/") + "/namespaces/" + url.PathEscape(namespace) +
		"/workflows?query=" + url.QueryEscape(`WorkflowId="`+workflowID+`"`)
}

// scope is the organisation that a command is limited to, or "" for all of them.
func (g *globals) scope(ctx context.Context, store *inventory.Store) (string, error) {
	if g.org == "" {
		return "", nil
	}
	return g.orgID(ctx, store)
}

// dialWorkers connects to Temporal for a question that a worker has to answer. That none runs is an error, before
// anything was asked.
func (g *globals) dialWorkers(ctx context.Context) (client.Client, error) {
	c, err := g.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := ask.Reach(ctx, c, g.queue()); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// journal opens the journal of a bulk command, below the user's state folder, and says where it goes on with one that
// was interrupted. Where there is no such folder it is nil, and keeps nothing.
func (g *globals) journal(verb string, command ...string) *ask.Journal {
	folder, ok := g.io.Env("XDG_STATE_HOME")
	if home, known := g.io.Env("HOME"); (!ok || folder == "") && known && home != "" {
		folder = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(folder) {
		return nil
	}
	url, err := g.database()
	if err != nil {
		return nil
	}
	j, err := ask.OpenJournal(filepath.Join(folder, "rollcall", "commands"), url, append([]string{verb}, command...),
		g.io.Now())
	if err != nil {
		fmt.Fprintf(g.io.Stderr, "warning: the command cannot be gone on with after an interruption: %v\n", err)
		return nil
	}
	if j.Unread != nil {
		fmt.Fprintf(g.io.Stderr, "warning: how far this command came before cannot be read, and it begins again: %v\n",
			j.Unread)
	}
	if j.GoesOn() {
		fmt.Fprintf(g.io.Stderr, "going on with the %s of %s under request id %s: %d have answered and are not asked again\n",
			verb, printer.Stamp(j.Begun), j.RequestID, j.AnsweredCount())
	}
	return j
}

// endJournal ends the journal of a bulk command. It is kept where some have not answered, also because failed has kept
// them from being asked.
func (g *globals) endJournal(j *ask.Journal, outcomes *printer.Outcomes, failed error) {
	if j == nil {
		return
	}
	done := outcomes.AllAnswered() && (failed == nil || !j.GoesOn())
	if err := j.Close(done); err != nil {
		fmt.Fprintf(g.io.Stderr, "warning: %v\n", err)
	}
	if !outcomes.AllAnswered() {
		fmt.Fprintf(g.io.Stderr, "the same command asks those that have not answered, under request id %s\n", j.RequestID)
	}
}

// operator is the human on whose word a command acts, as the audit will name them.
type operator struct {
	as     string
	reason string
	// said reports whether --as was given.
	said bool
}

// person is the operator as a decision is recorded. It must be called after Temporal was dialled, which finds the
// profile.
func (o *operator) person(streams printer.IO) (ask.Person, error) {
	p := ask.Person{By: o.as, As: o.asSaid(), Reason: o.reason}
	var err error
	if streams.SendsCredentials != nil {
		p.Known, err = streams.SendsCredentials()
	}
	return p, err
}

// asSaid is what --as says; empty where it was not given.
func (o *operator) asSaid() string {
	if o.said {
		return o.as
	}
	return ""
}

// decide records the operator's decision about the targets of one organisation, where the server may know its caller.
func (o *operator) decide(
	ctx context.Context, g *globals, c client.Client, in runbook.DecisionInput,
) (ask.Decided, error) {
	p, err := o.person(g.io)
	if err != nil {
		return ask.Decided{}, err
	}
	if in.OrgID == "" {
		in.OrgID = runbook.DefaultOrgID
	}
	return ask.Decide(ctx, c, g.queue(), p, in)
}

func (o *operator) bindAs(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.as, "as", "", "`who` decides, for the audit (default: who Temporal knows you as, else $USER)")
}

func (o *operator) bind(cmd *cobra.Command) {
	o.bindAs(cmd)
	cmd.Flags().StringVar(&o.reason, "reason", "", "`why`, for the audit")
}

// complete finds out who the operator is where --as did not say. That no one is known is a usage error.
func (o *operator) complete(streams printer.IO, cmd *cobra.Command) error {
	if cmd.Flags().Changed("as") {
		if strings.TrimSpace(o.as) == "" {
			return usagef("--as is empty: say who decides, as in --as alice")
		}
		o.said = true
		return nil
	}
	if name, ok := streams.Env("USER"); ok && strings.TrimSpace(name) != "" {
		o.as = name
		return nil
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		o.as = u.Username
		return nil
	}
	return usagef("it is not known who decides: set --as, as in --as alice")
}
