package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// envURL gives the connection string without showing its password in the list of processes.
const envURL = "TEMPORAL_POSTGRES_URL"

// portsOfMember is how many ports in a row a process takes, one for each service.
const portsOfMember = 4

// options are what the command line says.
type options struct {
	postgres    *url.URL
	port        int
	members     []int // frontend ports of all processes of the cluster, ours among them, in ascending order
	shards      int
	conns       int
	asyncCommit bool
	jwksURI     string
	logLevel    string
}

const usage = `Run a Temporal server on PostgreSQL, for benches.

Usage:
  temporal-postgres --postgres-url URL [flags]

It creates the databases "temporal" and "temporal_visibility" if they are missing, updates their schema, and serves on
127.0.0.1 until SIGINT or SIGTERM. Frontend, history, matching and worker take --port and the three ports after it.
Namespaces and search attributes are the client's to register.

Example:
  temporal-postgres --postgres-url postgres://me:secret@127.0.0.1:5432/postgres --shards 16

Flags:
`

func parse(args []string, urlFromEnv string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("temporal-postgres", flag.ContinueOnError)
	// Help is what was asked for and goes to stdout; an error is one line, on stderr.
	flags.SetOutput(io.Discard)
	address := flags.String("postgres-url", "",
		"PostgreSQL, as a `URL` of a database in it whose user may create databases; else $"+envURL)
	flags.IntVar(&o.port, "port", 7233, "TCP `port` of the frontend")
	members := flags.String("members", "",
		"frontend `ports` of all processes of the cluster, with commas; empty is this one alone")
	flags.IntVar(&o.shards, "shards", 16, "history shards; the first start settles it for good")
	flags.IntVar(&o.conns, "conns", 20, "connections that each service may hold to each of the two databases")
	flags.BoolVar(&o.asyncCommit, "async-commit", false,
		"commit without waiting for the disk (synchronous_commit=off): a crash of PostgreSQL loses the last moments")
	flags.StringVar(&o.jwksURI, "jwks-uri", "",
		"let no one in without a JWT that a key of this `URL` has signed, and write who called into histories; without the "+
			"server's own workflows")
	flags.StringVar(&o.logLevel, "log-level", "warn", "least `level` to log to stderr: debug, info, warn or error")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
	}
	if err != nil {
		return nil, err
	}
	if *address == "" {
		*address = urlFromEnv
	}
	var noArgs error
	if flags.NArg() > 0 {
		noArgs = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, errors.Join(noArgs, o.setURL(*address), o.setMembers(*members), o.check())
}

func (o *options) check() error {
	var errs []error
	if o.port < 1 || o.port > 65535-portsOfMember+1 {
		errs = append(errs, fmt.Errorf("--port %d is not between 1 and %d", o.port, 65535-portsOfMember+1))
	}
	if o.shards < 1 || o.shards > 1<<14 {
		errs = append(errs, fmt.Errorf("--shards %d is not between 1 and %d", o.shards, 1<<14))
	}
	if o.conns < 1 {
		errs = append(errs, fmt.Errorf("--conns %d is less than 1", o.conns))
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, o.logLevel) {
		errs = append(errs, fmt.Errorf("--log-level %q is none of debug, info, warn and error", o.logLevel))
	}
	return errors.Join(errs...)
}

func (o *options) setURL(text string) error {
	if text == "" {
		return fmt.Errorf("--postgres-url or $%s is missing", envURL)
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse would repeat the password.
		return errors.New("--postgres-url is not a URL")
	}
	if (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Host == "" || u.User == nil ||
		strings.Trim(u.Path, "/") == "" {
		return errors.New("--postgres-url is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	if u.Port() == "" {
		u.Host += ":5432"
	}
	o.postgres = u
	return nil
}

func (o *options) setMembers(text string) error {
	o.members = []int{o.port}
	if text == "" {
		return nil
	}
	o.members = nil
	for field := range strings.SplitSeq(text, ",") {
		port, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil {
			return fmt.Errorf("--members: %q is not a port", field)
		}
		o.members = append(o.members, port)
	}
	// All processes have to list them in one order: a key's place in the list says which process serves it.
	slices.Sort(o.members)
	if !slices.Contains(o.members, o.port) {
		return fmt.Errorf("--members %s does not list our own --port %d", text, o.port)
	}
	for i, port := range o.members[1:] {
		if port-o.members[i] < portsOfMember {
			return fmt.Errorf("--members: %d and %d share ports, each takes %d", o.members[i], port, portsOfMember)
		}
	}
	return nil
}
