package main

import "rollcall/bench/report"

// What a roll call must reach; the sources are the limits that the project sets itself.
const (
	normalEvents   = 12
	conflictEvents = 20
	parentEvents   = 4.5
	ofTheFloor     = 0.85
	growthOfFloor  = 1.05
	workerMiB      = 200
)

// report adds the figures of one size.
func (p pair) report(r *report.Report, o rollcallOptions) {
	add := func(name, unit string, ours, floor float64, t *report.Target) {
		if t != nil && t.OfFloor && floor == 0 {
			t = nil // there was no floor
		}
		r.Add(report.Figure{Name: name, Devices: p.devices, Value: ours, Floor: floor, Unit: unit, Target: t})
	}
	rate := func(name string, ours, floor lap) {
		add(name, "devices/s", ours.perSecond(), floor.perSecond(), report.AtLeastOfFloor(ofTheFloor))
		add(name+": CPU of the workers", "ms/device", ours.perDevice(ours.WorkerCPU), floor.perDevice(floor.WorkerCPU), nil)
		add(name+": CPU of the Temporal server", "ms/device", ours.perDevice(ours.ServerCPU),
			floor.perDevice(floor.ServerCPU), nil)
	}
	add("roll (T1)", "devices/s", p.ours.Roll.perSecond(), 0, nil)
	rate("fan-out", p.ours.FanOut, p.floor.FanOut)
	add("worker, all devices waiting", "MiB", p.ours.WorkerMiB, p.floor.WorkerMiB, report.AtMost(workerMiB))
	add("Temporal server, all devices waiting", "MiB", p.ours.ServerMiB, p.floor.ServerMiB, nil)
	if o.untilWaiting {
		return
	}
	storm := "reconnect storm"
	if o.kill {
		storm = "reconnect storm, workers killed before"
	}
	rate(storm, p.ours.Storm, p.floor.Storm)
	add("the whole, without the resume", "devices/s", p.ours.wholeRate(p.devices), p.floor.wholeRate(p.devices),
		report.AtLeastOfFloor(ofTheFloor))
	add("worker, after the storm", "MiB", p.ours.WorkerPeakMiB, p.floor.WorkerPeakMiB, nil)
	if p.ours.Resume.Devices > 0 {
		add("bulk resume", "devices/s", p.ours.Resume.perSecond(), 0, nil)
	}
	add("from the last report or resume to the end", "s", p.ours.End.Seconds, p.floor.End.Seconds, nil)
	add("inventory: roll, audit and events", "MiB", p.ours.InventoryMiB, 0, nil)
	add("database of Temporal, all runs so far", "MiB", max(p.ours.TemporalMiB, p.floor.TemporalMiB), 0, nil)
	add("history, normal path", "events", p.ours.Normal.Events, p.floor.Normal.Events, nil)
	add("history, normal path, the longest", "events", p.ours.Normal.Most, p.floor.Normal.Most,
		report.AtMost(normalEvents))
	add("history, normal path", "bytes", p.ours.Normal.Bytes, p.floor.Normal.Bytes, nil)
	if p.ours.Conflict.Events > 0 {
		add("history, conflict and resume", "events", p.ours.Conflict.Events, 0, nil)
		add("history, conflict and resume, the longest", "events", p.ours.Conflict.Most, 0, report.AtMost(conflictEvents))
		add("history, conflict and resume", "bytes", p.ours.Conflict.Bytes, 0, nil)
	}
	add("parents' histories, for each device", "events", p.ours.Parents.Events, p.floor.Parents.Events,
		report.AtMost(parentEvents))
	add("parents' histories, for each device", "bytes", p.ours.Parents.Bytes, p.floor.Parents.Bytes, nil)
}

func (m measured) wholeRate(devices int) float64 {
	if m.Whole == 0 {
		return 0
	}
	return float64(devices) / m.Whole
}

// reportGrowth adds what a device costs among many, as a ratio to what it costs among few.
func reportGrowth(r *report.Report, all []pair) {
	if len(all) < 2 {
		return
	}
	few, many := all[0], all[len(all)-1]
	if many.ours.Storm.Seconds == 0 {
		return // it ended when all devices waited
	}
	growth := func(few, many measured) float64 {
		if few.Whole == 0 || many.Whole == 0 {
			return 0
		}
		return few.wholeRate(all[0].devices) / many.wholeRate(all[len(all)-1].devices)
	}
	f := report.Figure{
		Name: "cost of a device, against the smallest size", Devices: many.devices, Unit: "times",
		Value: growth(few.ours, many.ours), Floor: growth(few.floor, many.floor),
	}
	if f.Value == 0 {
		return
	}
	if f.Floor != 0 {
		f.Target = report.AtMostOfFloor(growthOfFloor)
	}
	r.Add(f)
}
