package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"rollcall/runbook"
)

// cancelAndTakeUp has an operator cancel the restore of one organisation while actors act, and take it up again. What
// was cancelled is taken up within whole. Where the devices stand is read before and after.
func (r *run) cancelAndTakeUp(acting, whole context.Context) error {
	random := rand.New(rand.NewPCG(r.options.Seed, 3000))
	for acting.Err() == nil && !r.ready(acting) {
		wait(acting, lookEvery)
	}
	wait(acting, r.options.For/4+time.Duration(random.Int64N(int64(r.options.For/4))))
	if acting.Err() != nil {
		return nil
	}
	o := r.orgs[random.IntN(len(r.orgs))]
	if err := r.lookNow(whole, o); err != nil {
		return err
	}
	err := r.recordForAll(Cancel, "restore cancelled and taken up again", []organisation{o}, func() error {
		err := r.operateUntil(whole, o, runbook.RestoreCancelled, "cancel", o.restoreID, "--as", "canceller", "--reason",
			"the harness takes it up again")
		if err != nil {
			return err
		}
		wait(acting, time.Duration(random.IntN(4000))*time.Millisecond)
		return r.operateUntil(whole, o, runbook.RestoreRunning, "restore", "--id", o.restoreID, "--org", o.ref,
			"--batch-size", "20", "--watch-interval", "2s", "--as", "canceller")
	})
	if err != nil {
		return err
	}
	return r.lookNow(whole, o)
}

// lookNow reads where the devices of an organisation stand now.
func (r *run) lookNow(ctx context.Context, o organisation) error {
	return await(ctx, atRest, "the roll is read", func(ctx context.Context) (string, error) {
		looks, err := r.rows(ctx, o)
		for _, c := range looks {
			r.record(c)
		}
		return "", err
	})
}

// operateUntil gives a command again and again until the restore is in a state.
func (r *run) operateUntil(ctx context.Context, o organisation, state runbook.RestoreState, args ...string) error {
	what := fmt.Sprintf("%s is %s", o.restoreID, state)
	return await(ctx, atRest, what, func(ctx context.Context) (string, error) {
		said, err := r.operate(ctx, "", args...)
		r.say("starter %s %s: %.200s: %v", args[0], o.restoreID, said, err)
		status, err := r.store.RestoreStatus(ctx, o.restoreID)
		if err == nil && status.State != state {
			return string(status.State), nil
		}
		return "", err
	})
}
