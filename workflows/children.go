package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// changeStartLittleByLittle marks the parents that start their children little by little; those of earlier releases asked
// for all of them in one workflow task.
const changeStartLittleByLittle = "start-little-by-little"

func startsLittleByLittle(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, changeStartLittleByLittle, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// child is a workflow that a parent keeps running until it has ended with a result.
type child struct {
	// key tells it from its siblings.
	key int64
	// id is its workflow id.
	id string
	// start starts it.
	start func(workflow.Context) workflow.ChildWorkflowFuture
	// ended reads its result; it is called once, when the child has completed.
	ended func(workflow.Context, workflow.Future) error
}

// children keeps workflows running by reconciling: list says which should run; one that ended without a result (it was
// terminated in the web UI, say), or whose id was still taken by a run that is about to end, is listed again after a while
// and, if it is still wanted, started again.
type children struct {
	list func(workflow.Context) ([]child, error)
	// atOnce is how many are started together, before it waits until each of them has begun. One has begun when begun says so,
	// or when it has ended.
	atOnce int
	begun  func(child, workflow.ChildWorkflowFuture) bool
	// called is called once, when all that are wanted have been asked for; nil is nobody to be told.
	called func(workflow.Context)

	running  map[int64]bool
	selector workflow.Selector
	// lookAgain is set when a child must be listed again, timer while the time until then runs.
	lookAgain bool
	timer     workflow.Future
	backoff   time.Duration
	// interrupted is when something last had to be started again.
	interrupted time.Time
}

// run returns when list says that there is nothing left to run and nothing runs. When ctx is cancelled it waits for the
// children, which are cancelled with it, and returns the cancellation.
func (c *children) run(ctx workflow.Context) error {
	c.running, c.backoff, c.selector = map[int64]bool{}, firstRestart, workflow.NewSelector(ctx)
	for ctx.Err() == nil {
		wanted, err := c.list(ctx)
		if err != nil {
			c.waitForAll(ctx)
			return err
		}
		if err := c.startAll(ctx, wanted); err != nil {
			break
		}
		if c.called != nil {
			c.called(ctx)
			c.called = nil
		}
		if len(c.running) == 0 {
			return nil
		}
		c.wait(ctx)
	}
	c.waitForAll(ctx)
	return ctx.Err()
}

// startAll starts those that do not run. The error is a cancellation.
func (c *children) startAll(ctx workflow.Context, wanted []child) error {
	littleByLittle := startsLittleByLittle(ctx)
	type start struct {
		child
		workflow.ChildWorkflowFuture
	}
	var starting []start
	for _, one := range wanted {
		if c.running[one.key] {
			continue
		}
		if littleByLittle && len(starting) >= c.atOnce {
			if err := workflow.Await(ctx, func() bool {
				starting = slices.DeleteFunc(starting, func(s start) bool { return s.IsReady() || c.begun(s.child, s.ChildWorkflowFuture) })
				return len(starting) == 0
			}); err != nil {
				return err
			}
		}
		starting = append(starting, start{one, c.startOne(ctx, one)})
	}
	return nil
}

func (c *children) startOne(ctx workflow.Context, one child) workflow.ChildWorkflowFuture {
	c.running[one.key] = true
	future := one.start(ctx)
	c.selector.AddFuture(future, func(f workflow.Future) {
		delete(c.running, one.key)
		err := one.ended(ctx, f)
		if err == nil || ctx.Err() != nil {
			return
		}
		workflow.GetLogger(ctx).Warn("Child ended without a result and is looked up again", "child", one.id, "error", err)
		c.lookAgain = true
		if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			// Whoever holds the id belongs to a restore that has ended, or to an earlier run of this one: it is asked to go.
			workflow.RequestCancelExternalWorkflow(ctx, one.id, "")
		}
	})
	return future
}

// wait reads the ends of children until none runs, or until it is time to list again.
func (c *children) wait(ctx workflow.Context) {
	due := false
	for !due && ctx.Err() == nil && (len(c.running) > 0 || c.timer != nil) {
		c.selector.Select(ctx)
		if c.lookAgain && c.timer == nil {
			if workflow.Now(ctx).Sub(c.interrupted) > calm {
				c.backoff = firstRestart
			}
			c.interrupted = workflow.Now(ctx)
			c.timer = workflow.NewTimerWithOptions(ctx, c.backoff, workflow.TimerOptions{Summary: "start again what was interrupted"})
			c.backoff = min(2*c.backoff, lastRestart)
			c.selector.AddFuture(c.timer, func(workflow.Future) { due, c.timer, c.lookAgain = true, nil, false })
		}
	}
}

// waitForAll reads the ends of the children that still run, so that a parent never closes before them.
func (c *children) waitForAll(ctx workflow.Context) {
	for len(c.running) > 0 {
		c.selector.Select(ctx)
	}
}
