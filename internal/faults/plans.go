package faults

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rollcall/runbook"
)

// planned is a plan that an operator has made of the paused devices of a part.
type planned struct {
	orgID, by string
	part      int
	start     time.Time
	// devices are those of the plan, as the database said when it was asked; nil where it did not answer.
	devices []Call
	asked   time.Time
}

// plan has an operator resume the paused devices of a part. A command that is killed leaves its plan to go on.
func (a *actor) plan(ctx context.Context, o *organisation) {
	p := planned{
		orgID: o.id, by: fmt.Sprintf("planner-%d-%d", a.id, a.random.IntN(1e6)), part: a.random.IntN(parts),
		start: time.Now(),
	}
	a.carryOut(ctx, p, o)
	if answers, err := a.answersOf(context.WithoutCancel(ctx), p.by); err == nil {
		p.devices = []Call{}
		for _, d := range answers {
			c := p.call(d.Name)
			c.Version = d.Reported
			p.devices = append(p.devices, c)
		}
	}
	p.asked = time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run.planned = append(a.run.planned, p)
}

// carryOut carries a plan out: as a selection, as a rollout in waves, or as a plan that is made first and started then.
func (a *actor) carryOut(ctx context.Context, p planned, o *organisation) {
	ctx, cancel := context.WithTimeout(ctx, 2*callLimit)
	defer cancel()
	id, kill := "of-"+p.by, a.killAt("StartWorkflowExecution")
	who := []string{"--org", o.ref, "--as", p.by, "-o", "json"}
	which := append([]string{"devices", "-l", fmt.Sprintf("part=%d", p.part)}, who...)
	waves := []string{"--waves", "1,50%,100%", "--away-after", "1s", "--max-failures", "1000", "--detach"}
	switch a.random.IntN(3) {
	case 0:
		_, _ = a.operate(ctx, kill, append([]string{"resume"}, which...)...) // the database says what it has done
	case 1:
		_, _ = a.operate(ctx, kill, append(append([]string{"resume"}, which...), waves...)...)
	default:
		if _, err := a.operate(ctx, "", append([]string{"plan", "resume", "--id", id}, which...)...); err != nil {
			return // nothing is paused, or it is not known whether there is a plan, which is not started then
		}
		_, _ = a.operate(ctx, kill, append(append([]string{"resume", "--plan", id}, who...), waves...)...)
	}
}

// answerOfPlan is what the database says that a device has answered to a plan.
type answerOfPlan struct {
	By       string       `db:"planned_by"`
	Name     string       `db:"name"`
	Reported string       `db:"reported_version"`
	Answer   string       `db:"answer"`
	Next     string       `db:"next_version"`
	Code     runbook.Code `db:"code"`
}

const selectAnswers = `select p.planned_by, d.name, d.reported_version, d.answer, d.next_version, d.code
	from rollcall.plans p join rollcall.plan_devices d on d.plan_id = p.id
	where $1 = '' and p.decided_by <> '' or p.planned_by = $1 order by p.id, d.seq`

// answersOf reads the answers to the plans of a person; empty is those of everyone.
func (r *run) answersOf(ctx context.Context, by string) (answers []answerOfPlan, err error) {
	if err := r.store.DB().SelectContext(ctx, &answers, selectAnswers, by); err != nil {
		return nil, fmt.Errorf("read what plans have done: %w", err)
	}
	return answers, nil
}

// planCalls are the decisions of those who made plans. Each device of a plan was asked at some time from the start of
// the command until now. Where PostgreSQL was put back it may have lost the plan, or an answer, which is then unknown.
func (r *run) planCalls(ctx context.Context, now time.Time) ([]Call, error) {
	answers, err := r.answersOf(ctx, "")
	if err != nil {
		return nil, err
	}
	made, calls := map[string]planned{}, []Call{}
	for _, p := range r.planned {
		made[p.by] = p
	}
	resumed := map[[2]string]bool{}
	for _, d := range answers {
		c := made[d.By].call(d.Name)
		c.Version, c.Next, c.Detail = d.Reported, d.Next, string(d.Code)
		switch {
		case d.Answer == "Resumed":
			c.Answer, resumed[[2]string{d.By, d.Name}] = Accepted, true
		case r.options.Disasters:
			continue
		case d.Answer == "Refused" && d.Code != runbook.CodeNotWaiting && d.Code != runbook.CodeNoRollCall:
			c.Answer = Refused
		}
		calls = append(calls, c)
	}
	for _, p := range r.planned {
		if !r.options.Disasters {
			break
		}
		for _, c := range r.maybe(p) {
			if !resumed[[2]string{c.By, c.Device}] {
				calls = append(calls, c)
			}
		}
	}
	for i := range calls {
		calls[i].End = now
	}
	return calls, nil
}

func (p planned) call(device string) Call {
	return Call{OrgID: p.orgID, Device: device, Kind: Resume, By: p.by, Via: "plan", Start: p.start, Answer: Unknown}
}

// maybe are the decisions that a plan may have been. Where the database was put back before it was asked for the
// devices of the plan, they are all of the part.
func (r *run) maybe(p planned) (calls []Call) {
	lost := slices.ContainsFunc(r.unrolled, func(u unrolled) bool {
		return u.lost.After(p.start) && u.lost.Before(p.asked)
	})
	if p.devices != nil && !lost {
		return p.devices
	}
	for n := p.part; n < r.options.Devices; n += parts {
		calls = append(calls, p.call(deviceName(n)))
	}
	return calls
}

// goOnWithPlans has an operator go on with the plans that no workflow carries out, as `starter fsck` says to. It says
// which plan is yet to end; empty is none.
func (r *run) goOnWithPlans(ctx context.Context) (string, error) {
	var open []struct{ ID, By string }
	err := r.store.DB().SelectContext(ctx, &open,
		`select id, decided_by as by from rollcall.plans where state in ('Running', 'Held') order by id`)
	if err != nil || len(open) == 0 {
		return "", err
	}
	for _, p := range open {
		runs, err := r.runs(ctx, runbook.ResumeWorkflowID(p.ID))
		if err != nil {
			return "", err
		}
		if !runs {
			said, err := r.operate(ctx, "", "resume", "--plan", p.ID, "--as", p.By, "--away-after", "1s", "--max-failures",
				"1000", "--detach")
			r.say("starter resume --plan %s: %.200s: %v", p.ID, said, err)
		}
	}
	return fmt.Sprintf("%d plans are yet to end", len(open)), nil
}
