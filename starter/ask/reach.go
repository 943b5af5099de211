package ask

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"rollcall/runbook"
)

const (
	// reachTimeout bounds how long Temporal is asked who polls a task queue.
	reachTimeout = 3 * time.Second
	// pollerAge is how long ago a worker that runs has polled at most: a poll is held for a minute.
	pollerAge = 75 * time.Second
)

// NoWorkerError says that no worker polls the task queue, so that nothing would be answered.
type NoWorkerError struct{ Queue string }

// Error says what to do.
func (e *NoWorkerError) Error() string {
	return fmt.Sprintf("no worker polls task queue %q: start one with `worker`", e.Queue)
}

// Reach finds out whether a worker polls the task queue, without waiting for one. Where none does the error is a
// *NoWorkerError; a namespace that does not exist is another error. A worker that has just been killed still counts,
// and so does one that cannot be asked about.
func Reach(ctx context.Context, c client.Client, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	found, err := c.DescribeTaskQueue(ctx, queue, enums.TASK_QUEUE_TYPE_WORKFLOW)
	var namespace *serviceerror.NamespaceNotFound
	switch {
	case errors.As(err, &namespace):
		return fmt.Errorf("no namespace %q in Temporal: set TEMPORAL_NAMESPACE, "+
			"or create it with `temporal operator namespace create`", namespace.Namespace)
	case err != nil:
		return nil
	}
	for _, poller := range found.GetPollers() {
		if time.Since(poller.GetLastAccessTime().AsTime()) < pollerAge {
			return nil
		}
	}
	if polledElsewhere(ctx, c, queue) {
		return nil
	}
	return &NoWorkerError{Queue: queue}
}

// polledElsewhere reports whether a worker polls another partition of the task queue than the one that is asked first.
// The server answers from what it knew some seconds ago.
func polledElsewhere(ctx context.Context, c client.Client, queue string) bool {
	//nolint:staticcheck // Its successor needs a server that supports worker deployments.
	found, err := c.DescribeTaskQueueEnhanced(ctx, client.DescribeTaskQueueEnhancedOptions{
		TaskQueue: queue, TaskQueueTypes: []client.TaskQueueType{client.TaskQueueTypeWorkflow}, ReportPollers: true,
	})
	if err != nil {
		return false
	}
	for _, version := range found.VersionsInfo { //nolint:staticcheck // as above
		for _, polled := range version.TypesInfo {
			for _, poller := range polled.Pollers {
				if time.Since(poller.LastAccessTime) < pollerAge {
					return true
				}
			}
		}
	}
	return false
}

// IsNoWorker reports whether an error is that no worker polls.
func IsNoWorker(err error) bool {
	var none *NoWorkerError
	return errors.As(err, &none)
}

// WhyRestoreStands says why nothing goes on with a restore that is open, and what helps; empty where a workflow and a
// worker run it.
func WhyRestoreStands(ctx context.Context, c client.Client, queue, restoreID string) string {
	err := Reach(ctx, c, queue)
	if err != nil && !IsNoWorker(err) {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	run, describeErr := c.DescribeWorkflowExecution(ctx, runbook.RestoreWorkflowID(restoreID), "")
	switch {
	case IsNotFound(describeErr),
		describeErr == nil && run.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return fmt.Sprintf("restore %s is open, but no workflow runs it: take it up again with `%s`", restoreID,
			TakeUp(restoreID))
	case describeErr != nil:
		return fmt.Sprintf("it is not known whether a workflow runs restore %s: %v", restoreID, describeErr)
	case err != nil:
		return fmt.Sprintf("restore %s is open, but nothing goes on with it: %v", restoreID, err)
	}
	var p runbook.RestoreProgress
	if err := Query(ctx, c, runbook.RestoreWorkflowID(restoreID), runbook.QueryTally, &p); errors.Is(err,
		context.DeadlineExceeded) {
		return fmt.Sprintf("restore %s is open, but no worker has answered within %s: is one running? Start it with `worker`",
			restoreID, reachTimeout)
	}
	return ""
}
