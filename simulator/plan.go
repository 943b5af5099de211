package simulator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Fate is how a device comes back, or that it does not.
type Fate string

// The fates, as the scenario's fields name them; those that a scenario names one by one are Named and Straggler.
const (
	Ahead         Fate = "ahead"
	Equal         Fate = "equal"
	Behind        Fate = "behind"
	NeverDeployed Fate = "neverDeployed"
	NeverBack     Fate = "neverBack"
	Unknown       Fate = "unknown"
	Named         Fate = "named"
	Straggler     Fate = "straggler"
)

// Plan is what one agent is going to do, as far as that does not depend on what it is answered.
type Plan struct {
	// Name is the device's. An Unknown one is named by its key once it asks to be enrolled, and has a number here.
	Name string
	Fate Fate
	// Reports are what it reports, in the order of time; the first is how it comes back.
	Reports   []Report
	Slow      bool
	Failing   bool
	Rebooting bool
	Flaky     bool
}

// Plans draws what each agent is going to do: those of the devices, and extra more that the service does not know. The
// same seed, scenario and devices make the same plans. An error says that the scenario does not fit the devices.
func (s Scenario) Plans(seed uint64, devices []Device, extra int) ([]Plan, error) {
	plans := s.named()
	isNamed := map[string]bool{}
	for _, p := range plans {
		isNamed[p.Name] = true
	}
	var rest []Device
	for _, d := range devices {
		if !isNamed[d.Name] {
			rest = append(rest, d)
		}
	}
	slices.SortFunc(rest, func(a, b Device) int { return cmp.Compare(a.Name, b.Name) })
	drawn, err := s.drawn(seed, rest, len(plans) > 0, extra)
	if err != nil {
		return nil, err
	}
	plans = append(plans, drawn...)
	mark(plans, pick(seed, "slow", plans, s.Slow.Share), func(p *Plan) { p.Slow = true })
	mark(plans, pick(seed, "failing", plans, s.Failing.Share), func(p *Plan) { p.Failing = true })
	mark(plans, pick(seed, "rebooting", plans, s.Rebooting.Share), func(p *Plan) { p.Rebooting = true })
	mark(plans, pick(seed, "flaky", plans, s.Flaky.Share), func(p *Plan) { p.Flaky = true })
	return plans, nil
}

// named are the plans of the devices that the scenario names, sorted.
func (s Scenario) named() []Plan {
	reports, stragglers := byDevice(s.Reports), byDevice(s.Stragglers)
	var plans []Plan
	for _, name := range s.Devices() {
		if one, ok := reports[name]; ok {
			plans = append(plans, Plan{Name: name, Fate: Named, Reports: one})
		} else {
			plans = append(plans, Plan{Name: name, Fate: Straggler, Reports: stragglers[name]})
		}
	}
	return plans
}

// rounding is by how much shares that are rounded, each for itself, may exceed the whole.
const rounding = 3

// drawn are the plans of the other devices, and of those that the service does not know.
func (s Scenario) drawn(seed uint64, devices []Device, named bool, extra int) ([]Plan, error) {
	fates := s.Fleet
	switch {
	case fates == nil && named:
		fates = &Fates{NeverBack: Amount{Share: 1}}
	case fates == nil:
		fates = &Fates{}
	}
	n := len(devices)
	order := dice(seed, "fates").Perm(n)
	plans := make([]Plan, n)
	taken := 0
	for _, f := range []struct {
		fate   Fate
		amount Amount
	}{{Ahead, fates.Ahead}, {Behind, fates.Behind}, {NeverDeployed, fates.NeverDeployed}, {NeverBack, fates.NeverBack}, {
		Equal, fates.Equal,
	}} {
		many := f.amount.of(n)
		if over := taken + many - n; over > rounding || over > 0 && f.amount.Share == 0 {
			return nil,
				fmt.Errorf("the scenario has fates for more devices than the %d that it does not name: %d are left for the "+
					"%d that are %s", n, n-taken, many, f.fate)
		}
		for range min(many, n-taken) { // shares are rounded
			plans[order[taken]].Fate = f.fate
			taken++
		}
	}
	for i, d := range devices {
		plans[i] = s.plan(seed, d.Name, cmp.Or(plans[i].Fate, Equal), d.Restored)
	}
	for i := range fates.Unknown.of(n) + extra {
		plans = append(plans, s.plan(seed, fmt.Sprintf("unknown-%d", i+1), Unknown, ""))
	}
	return plans, nil
}

func (s Scenario) plan(seed uint64, name string, fate Fate, restored string) Plan {
	p := Plan{Name: name, Fate: fate}
	if fate == NeverBack {
		return p
	}
	p.Reports = []Report{{
		Device: name, AfterSeconds: dice(seed, name, "back").Float64() * s.BackWithinSeconds,
		RenderedVersion: comesBackWith(seed, name, fate, restored),
	}}
	return p
}

// comesBackWith is the version that a device of this fate reports. A restored one that cannot be read counts as none.
func comesBackWith(seed uint64, name string, fate Fate, restored string) string {
	d := dice(seed, name, "version")
	known := known(restored)
	switch fate {
	case Ahead:
		return format(known + min(1+d.Uint64N(3), math.MaxInt64-known))
	case Behind:
		return format(known - min(1+d.Uint64N(3), known))
	case NeverDeployed:
		return []string{"", "0"}[d.IntN(2)]
	case Unknown:
		return []string{"0", format(1 + d.Uint64N(20))}[d.IntN(2)]
	}
	return format(known)
}

// pick draws an amount of the agents that come back, by their place among the plans.
func pick(seed uint64, purpose string, plans []Plan, amount Amount) []int {
	var places []int
	for i, p := range plans {
		if p.Fate != NeverBack {
			places = append(places, i)
		}
	}
	picked := dice(seed, purpose).Perm(len(places))[:min(amount.of(len(places)), len(places))]
	for i, at := range picked {
		picked[i] = places[at]
	}
	return picked
}

func mark(plans []Plan, places []int, as func(*Plan)) {
	for _, i := range places {
		as(&plans[i])
	}
}

// known is what a version reads as: a number in 63 bits, and 0 where it is none.
func known(version string) uint64 {
	v, err := strconv.ParseUint(version, 10, 63)
	if err != nil {
		return 0
	}
	return v
}

func format(version uint64) string { return strconv.FormatUint(version, 10) }
