package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"rollcall/bench/report"
	"rollcall/internal/authority"
	"rollcall/inventory"
)

// agentsOptions are the flags of `bench agents`.
type agentsOptions struct {
	agents, gateways, clients, rounds, reportsAtOnce int
	// devices are those on the roll in the part "there", and every how many of them one is there.
	devices, every         int
	each, idle, comeWithin time.Duration
	plain                  bool
	only                   []string
	stderr                 io.Writer
}

// The parts that --only of `bench agents` names.
const (
	partRequests  = "requests"
	partHeld      = "held"
	partFlood     = "flood"
	partUnbounded = "unbounded"
	partThere     = "there"
)

var (
	agentParts = []string{partRequests, partHeld, partFlood, partUnbounded, partThere}
	// usualParts are those without a fleet of another size.
	usualParts = []string{partRequests, partHeld, partFlood, partUnbounded}
)

func newAgentsCommand() *cobra.Command {
	var o agentsOptions
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "The gateway: requests a second, many held polls, and a whole fleet that comes back at once",
		Long: `Measures the gateway as a process of its own, over mutual TLS. First the requests a second of devices that no
roll call waits for, against a handler that reads one row, in turn. Then what it takes to hold the polls of many agents.
Then a restore begins, all of them report at once, and the roll call answers them: with back-pressure ("flood"),
and without ("unbounded").
A part that is not run unless --only names it ("there") has a fleet of --devices, of which the agents are a few: how
long each of these waits for its answer.
A gateway, and the process of its agents, need an open file for each (ulimit -n): there are as many of both as that
takes.`,
		Args: cobra.NoArgs,
		RunE: report.Command(func(ctx context.Context, stderr io.Writer) (*report.Report, error) {
			o.stderr = stderr
			return o.run(ctx)
		}),
	}
	flags := cmd.Flags()
	flags.IntVar(&o.agents, "agents", 10000, "agents that poll")
	flags.IntVar(&o.gateways, "gateways", 0,
		"gateways, each with a process of agents (default as few as may open a file for each agent)")
	flags.IntVar(&o.clients, "clients", 16, "connections for the requests a second")
	flags.IntVar(&o.rounds, "rounds", 3, "how often the requests of each are measured")
	flags.IntVar(&o.reportsAtOnce, "reports-at-once", 0,
		"reports under way at once in the flood (default that of the gateway)")
	flags.DurationVar(&o.each, "each", 3*time.Second, "how long requests are measured in a round")
	flags.DurationVar(&o.idle, "idle", 20*time.Second, "how long held polls are measured")
	flags.DurationVar(&o.comeWithin, "come-within", 0,
		"time over which the agents' first connections are spread (default 500 a second)")
	flags.BoolVar(&o.plain, "plain", false,
		"in a flood: agents without TLS that are connected only while they ask, first come when the restore has begun, and "+
			"end when they are answered")
	flags.IntVar(&o.devices, "devices", 10000, "devices on the roll in the part \"there\", of which --agents are there")
	flags.StringSliceVar(&o.only, "only", usualParts, "parts to run")
	return cmd
}

// site is a fleet in a database of its own, with an authority for its agents.
type site struct {
	*stack
	store *inventory.Store
	url   string
	ca    *authority.CA
	// prefix is that of the devices' names, as in ours.
	prefix string
}

func (at site) name(i int) string { return deviceName(at.prefix, i) }

func (o agentsOptions) run(ctx context.Context) (r *report.Report, err error) {
	if o.agents < 1 || o.clients < 1 || o.rounds < 1 || o.each <= 0 || o.idle <= 0 {
		return nil, errors.New("--agents, --clients, --rounds, --each and --idle must be above 0")
	}
	if o.gateways < 0 || o.gateways > o.agents || o.comeWithin < 0 {
		return nil, errors.New("--gateways must be 0 to --agents, and --come-within not below 0")
	}
	if err := report.CheckParts(o.only, agentParts); err != nil {
		return nil, err
	}
	if slices.Contains(o.only, partThere) && (o.plain || o.devices < o.agents) {
		return nil, fmt.Errorf("--only %s needs at least as many --devices as --agents, and goes without --plain", partThere)
	}
	if o.plain && (slices.Contains(o.only, partRequests) || slices.Contains(o.only, partHeld)) {
		return nil, fmt.Errorf("--plain is for floods: add --only %s", partFlood)
	}
	if o.gateways == 0 {
		if o.gateways, err = gatewaysFor(o.agents); err != nil {
			return nil, err
		}
	}
	if o.comeWithin == 0 {
		o.comeWithin = time.Duration(o.agents) * time.Second / comeInASecond
	}
	r = report.New("agents", map[string]any{
		"gateways": o.gateways, "clients": o.clients, "rounds": o.rounds, "reportsAtOnce": o.reportsAtOnce,
		"comeWithin": o.comeWithin.String(), "plain": o.plain,
	})
	s, err := startStack(ctx, serverDev)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ca, err := openAuthority(s.dir)
	if err != nil {
		return nil, err
	}
	measure := map[string]func(site) error{
		partRequests:  func(at site) error { return o.measureRequests(ctx, at, r) },
		partHeld:      func(at site) error { return o.measureHeld(ctx, at, r) },
		partFlood:     func(at site) error { return o.measureFlood(ctx, at, o.reportsAtOnce, r) },
		partUnbounded: func(at site) error { return o.measureFlood(ctx, at, 10*o.agents, r) },
		partThere:     func(at site) error { return o.measureThere(ctx, at, r) },
	}
	for _, part := range agentParts {
		if !slices.Contains(o.only, part) {
			continue
		}
		devices := o.agents
		if part == partThere {
			devices = o.devices
		}
		if err := o.onSite(ctx, s, ca, devices, measure[part]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (o agentsOptions) onSite(
	ctx context.Context, s *stack, ca *authority.CA, devices int, measure func(site) error,
) error {
	store, url, err := s.newInventory(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	at := site{stack: s, store: store, url: url, ca: ca, prefix: fmt.Sprintf("device-%d-", s.inventories)}
	if err := (&ours{prefix: at.prefix}).prepare(ctx, store, devices); err != nil {
		return err
	}
	return measure(at)
}

// gatewayProcess is a gateway, and beside it its floor.
type gatewayProcess struct {
	cmd           *exec.Cmd
	agents, floor string
}

func (at site) startGateway(ctx context.Context, o gatewayOptions) (*gatewayProcess, error) {
	o.address, o.database, o.dir = at.temporal.Address(), at.url, at.dir
	cmd, addresses, err := startSelf(ctx, o.args())
	if err != nil {
		return nil, fmt.Errorf("start a gateway: %w", err)
	}
	scheme := "https://"
	if o.plain {
		scheme = "http://"
	}
	return &gatewayProcess{cmd: cmd, agents: scheme + addresses[0], floor: "https://" + addresses[1]}, nil
}

func (g *gatewayProcess) stop() error {
	_ = g.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	return g.cmd.Wait()
}

func (o agentsOptions) measureRequests(ctx context.Context, at site, r *report.Report) (err error) {
	g, err := at.startGateway(ctx, gatewayOptions{pollFor: time.Nanosecond})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	clients := make([]*http.Client, o.clients)
	for i := range clients {
		if clients[i], err = at.device(at.name(i % o.agents)); err != nil {
			return err
		}
	}
	var done [2]float64
	for range o.rounds {
		for i, address := range []string{g.agents, g.floor} {
			fmt.Fprintf(o.stderr, "requests for %s\n", o.each)
			n, err := o.requests(ctx, at, clients, address)
			if err != nil {
				return err
			}
			done[i] += n / (o.each.Seconds() * float64(o.rounds))
		}
	}
	r.Add(report.Figure{
		Name: "polls of devices on no roll", Devices: o.agents, Value: done[0], Floor: done[1],
		Unit: "requests/s",
	})
	return nil
}

func (at site) device(name string) (*http.Client, error) {
	pair, err := at.ca.Device(name, time.Hour)
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: at.ca.Pool(), Certificates: []tls.Certificate{certificate},
	}}}, nil
}

// requests counts what the clients are answered in the time that each round has.
func (o agentsOptions) requests(ctx context.Context, at site, clients []*http.Client, address string) (float64, error) {
	answered := make([]int, len(clients))
	end := time.Now().Add(o.each)
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range clients {
		url := address + "/api/v1/devices/" + at.name(i%o.agents) + "/rendered?knownRenderedVersion=" + restoredVersion
		group.Go(func() error {
			for time.Now().Before(end) {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err != nil {
					return err
				}
				response, err := c.Do(request)
				if err != nil {
					return err
				}
				response.Body.Close()
				if response.StatusCode != http.StatusNoContent {
					return fmt.Errorf("%s was answered %s", url, response.Status)
				}
				answered[i]++
			}
			return nil
		})
	}
	err := group.Wait()
	var sum float64
	for _, n := range answered {
		sum += float64(n)
	}
	return sum, err
}

func (o agentsOptions) measureHeld(ctx context.Context, at site, r *report.Report) (err error) {
	f, err := o.startFleets(ctx, at, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	alone, err := f.gatewayUsage()
	if err != nil {
		return err
	}
	came, err := f.comeBack(ctx)
	if err != nil {
		return err
	}
	before, err := f.gatewayUsage()
	if err != nil {
		return err
	}
	select {
	case <-time.After(o.idle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	after, err := f.gatewayUsage()
	if err != nil {
		return err
	}
	add := func(what, unit string, value float64) {
		r.Add(report.Figure{Name: what, Devices: o.agents, Value: value, Unit: unit})
	}
	add("agents connect", "s", came.Seconds)
	add("agents connect: requests that failed", "", float64(came.Errors))
	add("gateway, polls held", "MiB", after.MiB)
	add("gateway, polls held: memory for each", "KiB", 1024*(after.MiB-alone.MiB)/float64(o.agents))
	add("gateway, polls held: CPU", "% of a core", 100*(after.CPUSeconds-before.CPUSeconds)/o.idle.Seconds())
	return nil
}
