package invariants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"rollcall/runbook"
)

// mostLate is how many workflows of a task queue may leave a question without an answer, one after the other, before
// the others of that task queue are asked no more. Each costs queryTimeout.
const mostLate = 3

// asked is what became of the questions to workflows.
type asked struct {
	// queues are the task queues of the workflows that were found running, by workflow id.
	queues map[string]string
	// late is how many workflows of a task queue have not answered in time since the last that did; unasked is how many
	// were not asked because of that.
	late, unasked map[string]int
	// silent are the workflows that have not answered, by id.
	silent map[string]bool
	found  []Violation
}

func newAsked() *asked {
	return &asked{
		queues: map[string]string{}, late: map[string]int{}, unasked: map[string]int{}, silent: map[string]bool{},
	}
}

// violations are the workflows that have not answered, and how many were not asked.
func (a *asked) violations() []Violation {
	found := slices.Clone(a.found)
	for _, queue := range slices.Sorted(maps.Keys(a.unasked)) {
		found = append(found, Violation{
			Invariant: WorkflowAnswers,
			Message: fmt.Sprintf("%d questions to workflows of task queue %s were not asked, because the %d before them had no "+
				"answer: is a worker running that polls it?", a.unasked[queue], runbook.Storable(queue), mostLate),
		})
	}
	return found
}

// runs reports whether a workflow of this id runs now.
func (c Checker) runs(ctx context.Context, id string) (bool, error) {
	described, err := c.Temporal.DescribeWorkflowExecution(ctx, id, "")
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for workflow %s: %w", id, err)
	}
	c.asked.queues[id] = described.GetExecutionConfig().GetTaskQueue().GetName()
	return described.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

// ask asks the workflow of a violation that may be found. That it has not answered is a violation, and no error. A
// question that was not answered in time is asked once more: it may have gone to a worker that has died and had the
// workflow in its cache.
func (c Checker) ask(ctx context.Context, of Violation, query string, into any) (answered bool, err error) {
	queue := c.asked.queues[of.WorkflowID]
	if c.asked.silent[of.WorkflowID] {
		return false, nil
	}
	if c.asked.late[queue] >= mostLate {
		c.asked.unasked[queue]++
		return false, nil
	}
	err = c.query(ctx, of.WorkflowID, query, into)
	if isLate(err) && ctx.Err() == nil && c.asked.late[queue] == 0 {
		err = c.query(ctx, of.WorkflowID, query, into)
	}
	switch {
	case err == nil:
		c.asked.late[queue] = 0
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case isLate(err):
		c.asked.late[queue]++
	}
	c.asked.silent[of.WorkflowID] = true
	of.Invariant = WorkflowAnswers
	of.Message = fmt.Sprintf("the workflow does not answer: is a worker running that polls its task queue, %s? (%v)",
		runbook.Storable(queue), err)
	c.asked.found = append(c.asked.found, of)
	return false, nil
}

func (c Checker) query(ctx context.Context, id, query string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	answer, err := c.Temporal.QueryWorkflow(ctx, id, "", query)
	if err != nil {
		return err
	}
	return answer.Get(into)
}

// isLate reports whether a question was not answered in time.
func isLate(err error) bool {
	var late *serviceerror.DeadlineExceeded
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late)
}
