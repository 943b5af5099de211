package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"rollcall/bench/process"
	"rollcall/inventory"
)

// runner is one of the two that are measured side by side.
type runner interface {
	// prepare makes n devices, and the worker's part of what is needed.
	prepare(ctx context.Context, store *inventory.Store, n int) error
	// start starts the root workflow.
	start(ctx context.Context, c client.Client, queue string) (client.WorkflowRun, error)
	// rolled is how long the devices took to be put on the roll, since the start; 0 where there is no roll.
	rolled(ctx context.Context) (time.Duration, error)
	// report sends device i's report.
	report(ctx context.Context, c client.Client, i int) error
	// unanswered counts the devices whose report has not been dealt with.
	unanswered(ctx context.Context) (int, error)
	// finish ends what a human must end, and says how many devices that were.
	finish(ctx context.Context, c client.Client) (int, error)
	// deviceIDs are the workflow ids of the devices on the normal path and on that of a conflict, parentIDs those above
	// them.
	deviceIDs() (normal, conflict []string)
	parentIDs() []string
}

// runOptions say how each is run.
type runOptions struct {
	devices, batchSize, workers, senders int
	// underWay is how many reports may be unanswered at once, as a gateway lets them in; 0 is all.
	underWay int
	ahead    float64
	// workerCPU is how many cores each worker may use once it is about to poll; 0 is no limit.
	workerCPU float64
	// killWorkers kills the worker processes while all devices wait.
	killWorkers bool
	// untilWaiting ends the run when all devices wait.
	untilWaiting bool
	progress     func(format string, args ...any)
}

// lap is what one phase took.
type lap struct {
	Seconds              float64
	Devices              int
	WorkerCPU, ServerCPU float64 // seconds
}

func (l lap) perSecond() float64 {
	if l.Seconds == 0 {
		return 0
	}
	return float64(l.Devices) / l.Seconds
}

// perDevice is a CPU time in milliseconds for a device.
func (l lap) perDevice(seconds float64) float64 { return 1000 * seconds / float64(max(1, l.Devices)) }

// measured is one whole run.
type measured struct {
	Roll, FanOut, Storm, Resume lap
	End                         lap     // from the last report or resume to the end of the root
	Whole                       float64 // seconds of all but the resume
	WorkerMiB, ServerMiB        float64 // while all devices wait
	WorkerPeakMiB               float64 // at the end of the storm
	InventoryMiB, TemporalMiB   float64 // databases, at the end
	Normal, Conflict, Parents   size    // Parents is for each device
}

// size is a history's.
type size struct {
	Events, Bytes float64 // the mean
	Most          float64 // events of the longest
}

// race runs one of the two from start to end. CPU time is limited in all that is measured: that of the server's members
// since they serve (limitServers), and that of each worker from when it is about to poll (startOne).
func race(ctx context.Context, s *stack, name string, r runner, o runOptions) (m measured, err error) {
	store, url, err := s.newInventory(ctx)
	if err != nil {
		return m, err
	}
	defer store.Close()
	if err := r.prepare(ctx, store, o.devices); err != nil {
		return m, err
	}
	queue := fmt.Sprintf("bench-%d", s.inventories)
	_, floor := r.(*floorRunner)
	w, err := startWorkers(ctx, o.workers,
		workerOptions{address: s.addresses, database: url, queue: queue, floor: floor, cpu: o.workerCPU})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	l := &laps{stack: s, workers: w}
	run, err := r.start(ctx, s.client, queue)
	if err != nil {
		return m, fmt.Errorf("start %s: %w", name, err)
	}
	if err := l.begin(); err != nil {
		return m, err
	}
	o.progress("%s: %d devices: fan-out", name, o.devices)
	if err := until(ctx, lookOften, func() (bool, error) {
		now, err := w.counts(ctx)
		return now.Begun >= o.devices, err
	}); err != nil {
		return m, err
	}
	if m.FanOut, err = l.end(o.devices); err != nil {
		return m, err
	}
	rolled, err := r.rolled(ctx)
	if err != nil {
		return m, err
	}
	m.Roll = lap{Seconds: rolled.Seconds(), Devices: o.devices}
	m.Whole = m.FanOut.Seconds
	m.FanOut.Seconds -= rolled.Seconds()
	if err := m.weigh(s, w); err != nil || o.untilWaiting {
		return m, err
	}
	if o.killWorkers {
		if err := w.kill(); err != nil {
			return m, err
		}
		for range o.workers {
			if err := w.startOne(ctx); err != nil {
				return m, err
			}
		}
	}
	if err := l.begin(); err != nil {
		return m, err
	}
	o.progress("%s: %d devices: storm", name, o.devices)
	f := &flow{limit: o.underWay, unanswered: func() (int, error) { return r.unanswered(ctx) }, devices: o.devices}
	if err := sendAll(ctx, o.senders, o.devices, func(i int) error {
		if err := f.wait(ctx, i); err != nil {
			return err
		}
		return r.report(ctx, s.client, i)
	}); err != nil {
		return m, err
	}
	normal, _ := r.deviceIDs()
	if err := until(ctx, lookAtTable, func() (bool, error) {
		now, err := w.counts(ctx)
		if err != nil || now.Ended < len(normal) {
			return false, err
		}
		left, err := r.unanswered(ctx)
		return left == 0, err
	}); err != nil {
		return m, err
	}
	if m.Storm, err = l.end(o.devices); err != nil {
		return m, err
	}
	m.Whole += m.Storm.Seconds
	used, err := process.UsageOf(w.pids()...)
	if err != nil {
		return m, err
	}
	m.WorkerPeakMiB = used.MiB / float64(o.workers)
	o.progress("%s: %d devices: resume and end", name, o.devices)
	if err := l.begin(); err != nil {
		return m, err
	}
	resumed, err := r.finish(ctx, s.client)
	if err != nil {
		return m, err
	}
	if m.Resume, err = l.end(resumed); err != nil {
		return m, err
	}
	if err := l.begin(); err != nil {
		return m, err
	}
	if err := run.Get(ctx, nil); err != nil {
		return m, fmt.Errorf("%s has not ended as it should: %w", name, err)
	}
	if m.End, err = l.end(o.devices); err != nil {
		return m, err
	}
	m.Whole += m.End.Seconds
	if m.InventoryMiB, m.TemporalMiB, err = s.sizes(ctx, store); err != nil {
		return m, err
	}
	return m, m.measureHistories(ctx, s.client, r, o.devices)
}

// weigh reads the memory while all devices wait.
func (m *measured) weigh(s *stack, w *workers) error {
	worker, err := process.UsageOf(w.pids()...)
	if err != nil {
		return err
	}
	server, err := process.UsageOf(s.memberPIDs...)
	if err != nil {
		return err
	}
	m.WorkerMiB, m.ServerMiB = worker.MiB/float64(len(w.processes)), server.MiB
	return nil
}

// sample is how many histories of each kind are read.
const sample = 50

func (m *measured) measureHistories(ctx context.Context, c client.Client, r runner, devices int) error {
	normal, conflict := r.deviceIDs()
	var err error
	if m.Normal, err = meanSize(ctx, c, spread(normal, sample)); err != nil {
		return err
	}
	if m.Conflict, err = meanSize(ctx, c, spread(conflict, sample)); err != nil {
		return err
	}
	parents := r.parentIDs()
	if m.Parents, err = meanSize(ctx, c, parents); err != nil {
		return err
	}
	m.Parents.Events *= float64(len(parents)) / float64(devices)
	m.Parents.Bytes *= float64(len(parents)) / float64(devices)
	return nil
}

func meanSize(ctx context.Context, c client.Client, ids []string) (mean size, err error) {
	for _, id := range ids {
		d, err := c.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			return mean, fmt.Errorf("describe %s: %w", id, err)
		}
		info := d.GetWorkflowExecutionInfo()
		if info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			return mean, fmt.Errorf("workflow %s is %s and should have completed", id, info.GetStatus())
		}
		mean.Most = max(mean.Most, float64(info.GetHistoryLength()))
		mean.Events += float64(info.GetHistoryLength()) / float64(len(ids))
		mean.Bytes += float64(info.GetHistorySizeBytes()) / float64(len(ids))
	}
	return mean, nil
}

// spread takes n of the ids, evenly.
func spread(ids []string, n int) []string {
	if len(ids) <= n {
		return ids
	}
	some := make([]string, n)
	for i := range some {
		some[i] = ids[i*len(ids)/n]
	}
	return some
}
