package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"rollcall/bench/process"
)

// laps takes the time, and the CPU time of servers and workers, of one phase after the other.
type laps struct {
	stack         *stack
	workers       *workers
	at            time.Time
	worker, serve process.Usage
}

func (l *laps) begin() (err error) {
	l.at = time.Now()
	l.worker, l.serve, err = l.used()
	return err
}

func (l *laps) end(devices int) (lap, error) {
	took := time.Since(l.at)
	worker, serve, err := l.used()
	return lap{
		Seconds: took.Seconds(), Devices: devices,
		WorkerCPU: worker.CPUSeconds - l.worker.CPUSeconds, ServerCPU: serve.CPUSeconds - l.serve.CPUSeconds,
	}, err
}

func (l *laps) used() (worker, server process.Usage, err error) {
	if worker, err = process.UsageOf(l.workers.pids()...); err != nil {
		return worker, server, err
	}
	server, err = process.UsageOf(l.stack.serverPIDs...)
	return worker, server, err
}

// How often a condition is looked at: one that costs nothing, and one that reads a table, which both race for.
const (
	lookOften   = 50 * time.Millisecond
	lookAtTable = 250 * time.Millisecond
)

// until asks again and again whether it is so.
func until(ctx context.Context, every time.Duration, so func() (bool, error)) error {
	for {
		yes, err := so()
		if err != nil || yes {
			return err
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sendAll calls send for 0 to n-1, so many at once.
func sendAll(ctx context.Context, atOnce, n int, send func(i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return send(i) })
	}
	return group.Wait()
}

// flow lets reports in as a gateway does: so many may be unanswered at once.
type flow struct {
	limit, devices int
	unanswered     func() (int, error)

	mu sync.Mutex
	// allowed is how many may have been sent by now.
	allowed int
}

// wait waits until the i-th report, counted from 0, may be sent.
func (f *flow) wait(ctx context.Context, i int) error {
	if f.limit == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return until(ctx, lookAtTable, func() (bool, error) {
		if i < f.allowed {
			return true, nil
		}
		left, err := f.unanswered()
		f.allowed = f.devices - left + f.limit
		return i < f.allowed, err
	})
}
