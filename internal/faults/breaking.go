package faults

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
)

const contSignal = syscall.SIGCONT

// toxics are how connections are spoiled: slow, silent to both ends as after a loss of power, cut, and cut up.
var toxics = []struct{ what, json string }{
	{"delayed", `{"type": "latency", "attributes": {"latency": 300, "jitter": 200}}`},
	{"half open", `{"type": "timeout", "attributes": {"timeout": 0}}`},
	{"cut", `{"type": "reset_peer", "attributes": {"timeout": 100}}`},
	{"cut up", `{"type": "slicer", "attributes": {"average_size": 100, "size_variation": 50, "delay": 500}}`},
}

// breakThings makes one thing fail after the other until acting ends. What it has begun it mends within whole. The
// error is a server that did not come back.
func (r *run) breakThings(acting, whole context.Context) error {
	random := rand.New(rand.NewPCG(r.options.Seed, 0))
	var disasters []disaster
	if r.options.Disasters {
		disasters = r.disasters()
	}
	if r.options.PutBacks {
		if err := r.saveEarly(acting, whole, random); err != nil {
			return err
		}
	}
	for acting.Err() == nil {
		select {
		case <-acting.Done():
			return nil
		case p := <-r.halted:
			if err := r.whileHalted(acting, whole, random, p); err != nil {
				return err
			}
			continue
		case <-time.After(time.Duration(500+random.IntN(3000)) * time.Millisecond):
		}
		length := time.Duration(500+random.IntN(6000)) * time.Millisecond
		switch n := random.IntN(100); {
		case len(disasters) > 0 && n < 70 && r.ready(acting):
			r.say("%s", disasters[0].what)
			if err := r.strike(whole, disasters[0].strike); err != nil {
				return err
			}
			disasters = disasters[1:]
		case r.beside != nil && n < 60:
			if err := r.beside.breakIt(acting, random, length); err != nil {
				return err
			}
		case n < 30:
			r.processes[random.IntN(len(r.processes))].freeze(acting, length)
		case n < 40 || r.options.Given != nil:
			p := r.processes[random.IntN(len(r.processes))]
			r.say("%s is killed", p.name)
			r.broke("process killed anywhere")
			p.renew()
		case n < 80:
			proxy := []*toxiproxy.Proxy{r.servers.toPostgres, r.servers.toTemporal}[random.IntN(2)]
			toxic := toxics[random.IntN(len(toxics))]
			r.say("connections to %s are %s for %s", proxy.Name, toxic.what, length)
			mend, err := spoil(proxy, toxic.json)
			if err != nil {
				return err
			}
			r.broke("connections to " + proxy.Name + " " + toxic.what)
			wait(acting, length)
			mend()
		case n < 90:
			r.say("PostgreSQL crashes")
			if err := r.servers.restartPostgres(whole); err != nil {
				return err
			}
			r.broke("PostgreSQL crashed")
		default:
			r.say("Temporal is killed")
			if err := r.servers.restartTemporal(whole); err != nil {
				return err
			}
			r.broke("Temporal killed")
		}
	}
	return nil
}

// hasHalted hands a process over that has halted at a point. It goes on at once during a disaster, which may need it.
func (r *run) hasHalted(p *process) {
	if !r.striking.Load() {
		select {
		case r.halted <- p:
			return
		default: // many have halted
		}
	}
	goOn(p)
}

// goOn lets a process go on that says that it halts.
func goOn(p *process) { time.AfterFunc(haltsAtOnce, func() { p.signal(contSignal) }) }

// strike lets a disaster happen. Whoever has halted goes on.
func (r *run) strike(whole context.Context, what func(context.Context) error) error {
	r.striking.Store(true)
	defer r.striking.Store(false)
	for len(r.halted) > 0 { // no one else receives
		goOn(<-r.halted)
	}
	return what(whole)
}

// haltsAtOnce is how long after it has said so a process has halted.
const haltsAtOnce = 200 * time.Millisecond

// whileHalted lets time pass while a process has halted at a point, or kills a server then: at that point of the
// program, a server goes and comes back.
func (r *run) whileHalted(acting, whole context.Context, random *rand.Rand, p *process) error {
	defer p.signal(contSignal)
	servers := 3
	if r.beside != nil || r.options.Given != nil {
		servers = 1 // they are left alone
	}
	switch random.IntN(servers) {
	case 1:
		r.say("PostgreSQL crashes while %s has halted", p.name)
		r.broke("PostgreSQL crashed at a point")
		return r.servers.restartPostgres(whole)
	case 2:
		r.say("Temporal is killed while %s has halted", p.name)
		r.broke("Temporal killed at a point")
		return r.servers.restartTemporal(whole)
	}
	wait(whole, haltsAtOnce)
	wait(acting, time.Duration(random.IntN(2000))*time.Millisecond)
	return nil
}

// ready reports whether all devices are on the roll. A disaster before is another story: the restore begins once more.
func (r *run) ready(ctx context.Context) bool {
	left, err := r.rolled(ctx)
	return err == nil && left == ""
}
