package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rollcall/bench/report"
	"rollcall/runbook"
	"rollcall/simulator"
)

// measureFlood lets a restore begin while all agents poll, or plain ones come back when it has begun: each of them
// reports at once.
func (o agentsOptions) measureFlood(ctx context.Context, at site, reportsAtOnce int, r *report.Report) (err error) {
	queue := fmt.Sprintf("bench-%d", at.inventories)
	w, err := startWorkers(ctx, 1, workerOptions{address: at.temporal.Address(), database: at.url, queue: queue})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	f, err := o.startFleets(ctx, at, reportsAtOnce)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	restore := &ours{id: fmt.Sprintf("flood-%d", at.inventories), devices: o.agents, store: at.store, prefix: at.prefix}
	var before simulator.Summary // what the agents met while they connected is not of the flood
	if !o.plain {
		if before, err = f.comeBack(ctx); err != nil {
			return err
		}
	}
	l := &laps{stack: at.stack, workers: w}
	if err := l.begin(); err != nil {
		return err
	}
	if _, err := restore.start(ctx, at.client, queue); err != nil {
		return err
	}
	if o.plain {
		if _, err := f.call(ctx); err != nil {
			return err
		}
	}
	if err := o.answered(ctx, f, restore); err != nil {
		return err
	}
	status, err := restore.store.RestoreStatus(ctx, restore.id)
	if err != nil {
		return err
	}
	took, err := l.end(o.agents)
	if err != nil {
		return err
	}
	summary, err := f.summary(ctx)
	if err != nil {
		return err
	}
	gateway, err := f.gatewayUsage()
	if err != nil {
		return err
	}
	worker, server, err := l.used()
	if err != nil {
		return err
	}
	normal, _ := restore.deviceIDs()
	history, err := meanSize(ctx, at.client, spread(normal, 4*sample))
	if err != nil {
		return err
	}
	name := "flood, with back-pressure"
	if o.plain {
		name = "flood without TLS, with back-pressure"
	}
	if reportsAtOnce > o.agents {
		name = strings.TrimSuffix(name, " back-pressure") + "out"
	}
	add := func(what, unit string, value float64) {
		r.Add(report.Figure{Name: name + what, Devices: o.agents, Value: value, Unit: unit})
	}
	none := report.AtMost(0)
	if reportsAtOnce > o.agents {
		none = nil
	}
	add(": restore to the last answer", "s", took.Seconds)
	add(": CPU of worker and server", "ms/device", took.perDevice(took.WorkerCPU+took.ServerCPU))
	add(": history of a device", "events", history.Events)
	add(": agents told to come again", "times", float64(summary.Retries-before.Retries))
	add(": polls and statuses of agents", "", float64(summary.Polls+summary.Reports-before.Polls-before.Reports))
	r.Add(report.Figure{
		Name: name + ": failures of another kind", Devices: o.agents,
		Value: float64(summary.Errors - before.Errors), Target: none,
	})
	r.Add(report.Figure{
		Name: name + ": devices unanswered", Devices: o.agents, Value: float64(status.Waiting()), Target: report.AtMost(0),
	})
	add(": gateway", "MiB", gateway.MiB)
	add(": worker", "MiB", worker.MiB)
	add(": Temporal's server", "MiB", server.MiB)
	return nil
}

// answered waits until the roll is made and no one on it is waited for.
func (o agentsOptions) answered(ctx context.Context, f *fleets, r *ours) error {
	told := time.Now()
	every := max(time.Second, time.Duration(o.agents)*time.Second/10_000) // the tally of a large roll takes a while
	return until(ctx, every, func() (bool, error) {
		status, err := r.store.RestoreStatus(ctx, r.id)
		if refusal := runbook.AsRefusal(err); refusal != nil && refusal.Code == runbook.CodeNotFound {
			return false, nil // its workflow has not opened it yet
		}
		if err != nil {
			return false, err
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			fmt.Fprintf(o.stderr, "        %d of %d devices are waited for\n", status.Waiting(), status.Total)
			if err := f.tell(ctx); err != nil {
				return false, err
			}
		}
		return status.Total == int64(o.agents) && status.Waiting() == 0, nil
	})
}
