package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/bench/report"
)

// measureThere lets a restore of a large fleet begin while a few of its devices poll, spread over the roll, and
// measures how long each of these waits until the roll call has answered it. The other devices never come.
func (o agentsOptions) measureThere(ctx context.Context, at site, r *report.Report) (err error) {
	queue := fmt.Sprintf("bench-%d", at.inventories)
	w, err := startWorkers(ctx, 1, workerOptions{address: at.temporal.Address(), database: at.url, queue: queue})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	there := o
	there.every = o.devices / o.agents
	f, err := there.startFleets(ctx, at, o.reportsAtOnce)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	if _, err := f.comeBack(ctx); err != nil {
		return err
	}
	restore := &ours{id: fmt.Sprintf("there-%d", at.inventories), devices: o.devices, store: at.store, prefix: at.prefix}
	if _, err := restore.start(ctx, at.client, queue); err != nil {
		return err
	}
	var waits []float64
	told := time.Now()
	err = until(ctx, time.Second, func() (bool, error) {
		if waits, err = answeredAfter(ctx, at, restore.id); err != nil {
			return false, err
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			fmt.Fprintf(o.stderr, "        %d of %d devices that are there have been answered\n", len(waits), o.agents)
		}
		return len(waits) >= o.agents, nil
	})
	if err != nil {
		return err
	}
	slices.Sort(waits)
	for _, figure := range []struct {
		name  string
		share float64
	}{{"median", 0.5}, {"95th percentile", 0.95}, {"last", 1}} {
		i := min(int(figure.share*float64(len(waits))), len(waits)-1)
		r.Add(report.Figure{
			Name:    fmt.Sprintf("%d of them are there, restore to the answer: %s", o.agents, figure.name),
			Devices: o.devices, Value: waits[i], Unit: "s",
		})
	}
	return nil
}

// answeredAfter reads how many seconds after the start of a restore its devices were answered.
func answeredAfter(ctx context.Context, at site, restoreID string) (seconds []float64, err error) {
	err = at.store.DB().SelectContext(ctx, &seconds, `
select extract(epoch from t.at - s.started_at)
from rollcall.transitions t join rollcall.restores s on s.id = t.restore_id
where t.restore_id = $1 and t.transition = 'T2'`, restoreID)
	if err != nil {
		return nil, fmt.Errorf("read who has been answered: %w", err)
	}
	return seconds, nil
}
