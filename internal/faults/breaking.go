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
		wait(acting, time.Duration(500+random.IntN(3000))*time.Millisecond)
		if acting.Err() != nil {
			return nil
		}
		length := time.Duration(500+random.IntN(6000)) * time.Millisecond
		switch n := random.IntN(100); {
		case len(disasters) > 0 && n < 70 && r.ready(acting):
			r.say("%s", disasters[0].what)
			if err := disasters[0].strike(whole); err != nil {
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

// ready reports whether all devices are on the roll. A disaster before is another story: the restore begins once more.
func (r *run) ready(ctx context.Context) bool {
	left, err := r.rolled(ctx)
	return err == nil && left == ""
}
