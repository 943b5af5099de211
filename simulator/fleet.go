package simulator

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/internal/authority"
)

// Fleet is the agents of one run.
type Fleet struct {
	cfg    Config
	base   string
	plans  []Plan
	agents []*agent
	// bootstrap is shared by all agents that enroll, as its certificate is.
	bootstrap *http.Client
	counts    counts
	began     time.Time
	calling   sync.Once
	// called is closed when the stragglers are to come back.
	called chan struct{}
}

// New draws what each agent will do and makes the certificates that they begin with. An error says what is wrong with
// the configuration, or that the scenario does not fit the devices.
func New(ctx context.Context, cfg Config) (*Fleet, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("configure the agents: %w", err)
	}
	base, err := CheckGateway(cfg.Gateway)
	if err != nil {
		return nil, err
	}
	f := &Fleet{cfg: cfg, base: base.String(), called: make(chan struct{}), counts: counts{states: map[State]int64{}}}
	if f.plans, err = cfg.Scenario.Plans(cfg.Seed, cfg.Devices, cfg.Extra); err != nil {
		return nil, err
	}
	pair, err := cfg.CA.EnrollmentOf(cfg.Organisation, "", cfg.CertificateLifetime)
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, fmt.Errorf("read the bootstrap certificate: %w", err)
	}
	f.bootstrap = f.client(certificate)
	return f, f.makeAgents(ctx)
}

// makeAgents makes the agents that come back, several at a time: each needs a key and a signature.
func (f *Fleet) makeAgents(ctx context.Context) error {
	devices := make(map[string]Device, len(f.cfg.Devices))
	for _, d := range f.cfg.Devices {
		devices[d.Name] = d
	}
	for _, p := range f.plans {
		if p.Fate != NeverBack {
			f.agents = append(f.agents, &agent{fleet: f, plan: p, name: p.Name, base: devices[p.Name].Status})
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, a := range f.agents {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return a.equip()
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("make the agents' certificates: %w", err)
	}
	for _, a := range f.agents {
		a.enter(StateAway)
	}
	return nil
}

// equip gives the agent what it begins with: a certificate, but for one that was never let in.
func (a *agent) equip() (err error) {
	if a.plan.Fate == Unknown {
		if a.key, err = keyOf(a.fleet.cfg.Seed, a.plan.Name); err != nil {
			return err
		}
		if a.name, err = authority.DeviceName(a.key.Public()); err != nil {
			return err
		}
		if known(a.plan.Reports[0].RenderedVersion) == 0 {
			return nil
		}
	}
	pair, err := a.fleet.cfg.CA.DeviceOf(authority.Subject{Device: a.name, Organisation: a.fleet.cfg.Organisation},
		a.fleet.cfg.CertificateLifetime)
	if err != nil {
		return err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return err
	}
	a.show(certificate)
	if a.key == nil {
		a.key, err = signer(certificate)
	}
	return err
}

// Plans are what the agents are going to do.
func (f *Fleet) Plans() []Plan { return f.plans }

// CallStragglers makes the stragglers come back; their times count from now.
func (f *Fleet) CallStragglers() { f.calling.Do(func() { close(f.called) }) }

// Reach makes one request, so that an address where no gateway is, or one whose certificate is not trusted, is known
// before thousands of agents try. Any answer is a good one.
func (f *Fleet) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if _, err := f.call(ctx, f.bootstrap, http.MethodGet, "/api/v1/", nil); err != nil {
		return fmt.Errorf("reach the gateway: %w", err)
	}
	return nil
}

// Run lets the agents live until ctx is done, or none of them has anything left to do. It returns when all have ended,
// and is called once.
func (f *Fleet) Run(ctx context.Context) Summary {
	f.counts.mu.Lock()
	f.began = time.Now()
	f.counts.mu.Unlock()
	var wait sync.WaitGroup
	for _, a := range f.agents {
		wait.Go(func() { a.live(ctx) })
	}
	ended := make(chan struct{})
	go func() { defer close(ended); wait.Wait() }()
	f.watch(ended)
	f.bootstrap.CloseIdleConnections()
	return f.Summary()
}

// watch tells how the fleet stands until it has ended.
func (f *Fleet) watch(ended <-chan struct{}) {
	tick := time.NewTicker(f.cfg.ProgressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			if f.cfg.Progress != nil {
				f.cfg.Progress(f.Summary())
			}
		}
	}
}
