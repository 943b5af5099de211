package devenv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
)

const (
	// portsOfMember is how many ports in a row each member takes.
	portsOfMember = 4
	// connsOfAll is the server's own default of --conns, which several members divide: PostgreSQL would not serve as many
	// to each, and a cluster that had many more than a single server could not be compared with it. Each has its part
	// rounded up, lest the cluster have fewer, as far as mostOfAll allows.
	connsOfAll = 20
	// mostOfAll is as many as PostgreSQL serves: four services hold them to two databases, and it has 200 connections.
	mostOfAll = 24
)

// run starts the members and waits until they serve, on other ports where someone else has taken one.
func (t *TemporalOnPostgres) run(ctx context.Context) error {
	ports := portsOfMember * t.cfg.Members
	for attempt := 1; ; attempt++ {
		first, err := freePortBlock(t.cfg.Port, ports)
		if err != nil {
			return err
		}
		err = t.startMembers(first)
		if err == nil {
			err = t.waitUntilServing(ctx)
		}
		if err == nil {
			t.watch()
			return nil
		}
		if stopErr := t.stopMembers(); stopErr != nil {
			return errors.Join(err, stopErr)
		}
		// Where the members have ended, what holds a port is someone else.
		if ctx.Err() != nil || blockIsFree(first, ports) || attempt == startAttempts {
			return err
		}
	}
}

func (t *TemporalOnPostgres) startMembers(first int) error {
	t.ports, t.members = nil, nil
	for i := range t.cfg.Members {
		t.ports = append(t.ports, first+i*portsOfMember)
	}
	for _, port := range t.ports {
		m, err := start(t.program(port))
		if err != nil {
			return err
		}
		t.members = append(t.members, m)
	}
	return nil
}

// waitUntilHealthy waits for all members. The first that ends is the one whose end is told.
func (t *TemporalOnPostgres) waitUntilHealthy(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, m := range t.members {
		group.Go(func() error {
			c, err := connectAs(hostPort(t.ports[i]), t.cfg.Namespace, t.cfg.Token)
			if err != nil {
				return err
			}
			defer c.Close()
			return m.waitUntil(ctx, func(ctx context.Context) error { return healthy(ctx, c) })
		})
	}
	return group.Wait()
}

func healthy(ctx context.Context, c client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := c.CheckHealth(ctx, &client.CheckHealthRequest{})
	return err
}

// watch closes done when the first member ends.
func (t *TemporalOnPostgres) watch() {
	t.done = make(chan struct{})
	var once sync.Once
	for _, m := range t.members {
		go func() {
			<-m.done
			once.Do(func() { close(t.done) })
		}()
	}
}

// onPostgresStopLimit: a member's services end one after the other, each with a moment for its clients.
const onPostgresStopLimit = 30 * time.Second

// stopMembers stops them all at once: each waits a while for its clients, which are the others, too.
func (t *TemporalOnPostgres) stopMembers() error {
	errs := make([]error, len(t.members))
	var stopping sync.WaitGroup
	for i, m := range t.members {
		stopping.Go(func() { errs[i] = m.stop(onPostgresStopLimit) })
	}
	stopping.Wait()
	return errors.Join(errs...)
}

func (t *TemporalOnPostgres) program(port int) program {
	name, args := "Temporal on PostgreSQL", []string{"--port", strconv.Itoa(port)}
	if len(t.ports) > 1 {
		name += fmt.Sprintf(" (member on port %d)", port)
		args = append(args, "--members", t.memberList())
	}
	if t.cfg.Shards != 0 {
		args = append(args, "--shards", strconv.Itoa(t.cfg.Shards))
	}
	if conns := t.conns(); conns != 0 {
		args = append(args, "--conns", strconv.Itoa(conns))
	}
	if t.cfg.AsyncCommit {
		args = append(args, "--async-commit")
	}
	if t.cfg.JWKSURI != "" {
		args = append(args, "--jwks-uri", t.cfg.JWKSURI)
	}
	return program{
		name: name, path: t.cfg.Binary, args: args,
		end: sigTerminate, lock: t.lock, log: t.log, ignore: "TEMPORAL_",
		// The password does not belong on a command line, which everybody can read.
		env: []string{"TEMPORAL_POSTGRES_URL=" + t.postgres.URL()},
	}
}

func (t *TemporalOnPostgres) memberList() string {
	var ports []string
	for _, port := range t.ports {
		ports = append(ports, strconv.Itoa(port))
	}
	return strings.Join(ports, ",")
}

// conns is the --conns of each member; 0 leaves it to the server.
func (t *TemporalOnPostgres) conns() int {
	if t.cfg.Conns != 0 || t.cfg.Members == 1 {
		return t.cfg.Conns
	}
	n := t.cfg.Members
	return max(1, min((connsOfAll+n-1)/n, mostOfAll/n))
}
