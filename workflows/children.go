package workflows

import (
	"maps"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// changeStartLittleByLittle marks the parents that start their children little by little; those of earlier releases
// asked for all of them in one workflow task.
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
// terminated in the web UI, say), or whose id was still taken by a run that is about to end, is listed again after a
// while and, if it is still wanted, started again.
type children struct {
	list func(workflow.Context) ([]child, error)
	// atOnce is how many are started together; the next ones follow when each of these has begun, which is when begun
	// says so, or when it has ended.
	atOnce int
	begun  func(child, workflow.ChildWorkflowFuture) bool
	// startTimeout bounds the wait for that; 0 is no bound.
	startTimeout time.Duration
	// claim, where it is set, adds to what list says: it is called before each wave, when nothing is left to start, until
	// more is false. Those that it has returned are listed from then on.
	claim func(workflow.Context) (claimed []child, more bool)
	// scheduled is called once, when the start of every wanted child was requested. It may be nil.
	scheduled func(workflow.Context)

	// more reports whether claim may have others.
	more bool
	// queue is those that are to be started; running those that were, until they end.
	queue    []child
	running  map[int64]bool
	selector workflow.Selector
	// asked wakes whoever waits for the ends of children when there are more of them.
	asked workflow.Channel
	// relist is set when the children must be listed again. timer is not nil until then.
	relist  bool
	timer   workflow.Future
	backoff time.Duration
	// interrupted is when something last had to be started again.
	interrupted time.Time
}

// run returns when list says that there is nothing left to run and nothing runs. When ctx is cancelled it waits for the
// children, which are cancelled with it, and returns the cancellation.
func (c *children) run(ctx workflow.Context) error {
	c.running, c.backoff, c.selector = map[int64]bool{}, firstRestart, workflow.NewSelector(ctx)
	ctx, stop := workflow.WithCancel(ctx)
	defer stop()
	for first := true; ctx.Err() == nil; first = false {
		wanted, err := c.list(ctx)
		if err != nil {
			c.waitForAll(ctx)
			return err
		}
		switch wanted = c.missing(wanted); {
		case first && startsLittleByLittle(ctx):
			c.queue, c.more = wanted, c.claim != nil
			c.startBeside(ctx)
		default:
			for _, one := range wanted {
				c.startOne(ctx, one)
			}
		}
		if c.isIdle() {
			return nil
		}
		c.wait(ctx)
	}
	c.waitForAll(ctx)
	return ctx.Err()
}

// isIdle reports whether nothing runs and nothing is left to be started.
func (c *children) isIdle() bool { return len(c.running)+len(c.queue) == 0 && !c.more }

// missing are those of wanted that neither run nor are going to be started.
func (c *children) missing(wanted []child) []child {
	there := maps.Clone(c.running)
	for _, one := range c.queue {
		there[one.key] = true
	}
	return slices.DeleteFunc(wanted, func(one child) bool { return there[one.key] })
}

// startBeside starts what is in the queue, little by little, beside whoever waits for the ends of children, for as
// long as ctx lasts.
func (c *children) startBeside(ctx workflow.Context) {
	c.asked = workflow.NewBufferedChannel(ctx, 1)
	c.selector.AddReceive(c.asked, func(asked workflow.ReceiveChannel, _ bool) { asked.Receive(ctx, nil) })
	workflow.Go(ctx, func(ctx workflow.Context) {
		for workflow.Await(ctx, func() bool { return len(c.queue) > 0 || c.more }) == nil {
			c.claimNext(ctx)
			starting := c.startNext(ctx)
			c.asked.SendAsync(nil)
			if len(c.queue) == 0 && !c.more && c.scheduled != nil {
				c.scheduled(ctx)
				c.scheduled = nil
			}
			c.awaitBegun(ctx, starting)
		}
		c.asked.SendAsync(nil) // nothing more is started
	})
}

// claimNext claims a wave when no one is left to start. A list that was read meanwhile may have had some of it started
// already.
func (c *children) claimNext(ctx workflow.Context) {
	if len(c.queue) > 0 || !c.more {
		return
	}
	claimed, more := c.claim(ctx)
	c.queue, c.more = c.missing(claimed), more
}

// start is a child that has been asked for.
type start struct {
	child
	workflow.ChildWorkflowFuture
}

// startNext starts the first of the queue.
func (c *children) startNext(ctx workflow.Context) []start {
	next := c.queue[:min(c.atOnce, len(c.queue))]
	c.queue = c.queue[len(next):]
	var starting []start
	for _, one := range next {
		starting = append(starting, start{one, c.startOne(ctx, one)})
	}
	return starting
}

// awaitBegun waits until each of the children that were started together has begun, startTimeout has passed or ctx is
// done.
func (c *children) awaitBegun(ctx workflow.Context, starting []start) {
	begun := func() bool {
		starting = slices.DeleteFunc(starting,
			func(s start) bool { return s.IsReady() || c.begun(s.child, s.ChildWorkflowFuture) })
		return len(starting) == 0
	}
	// What ended the wait is seen by whoever waits next.
	if c.startTimeout == 0 {
		_ = workflow.Await(ctx, begun)
		return
	}
	_, _ = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout: c.startTimeout, TimerOptions: workflow.TimerOptions{Summary: "go on all the same, should those before not " +
			"say that they have begun"},
	}, begun)
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
		c.relist = true
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
	for !due && ctx.Err() == nil && (!c.isIdle() || c.timer != nil) {
		c.selector.Select(ctx)
		if c.relist && c.timer == nil {
			if workflow.Now(ctx).Sub(c.interrupted) > backoffResetAfter {
				c.backoff = firstRestart
			}
			c.interrupted = workflow.Now(ctx)
			c.timer = workflow.NewTimerWithOptions(ctx, c.backoff,
				workflow.TimerOptions{Summary: "start again what was interrupted"})
			c.backoff = min(2*c.backoff, lastRestart)
			c.selector.AddFuture(c.timer, func(workflow.Future) { due, c.timer, c.relist = true, nil, false })
		}
	}
}

// waitForAll reads the ends of the children that still run, so that a parent never closes before them.
func (c *children) waitForAll(ctx workflow.Context) {
	for len(c.running) > 0 {
		c.selector.Select(ctx)
	}
}
