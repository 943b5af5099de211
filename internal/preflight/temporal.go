package preflight

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"rollcall/flightctl"
)

func temporal(ctx context.Context, o Options) []flightctl.Finding {
	const advice = "set TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, or a profile, and see whether the server runs"
	if o.TemporalError != nil {
		return []flightctl.Finding{failed(SubjectTemporal, o.TemporalError.Error(), advice)}
	}
	if o.Temporal == nil {
		return nil
	}
	info, err := o.Temporal.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		return []flightctl.Finding{failed(SubjectTemporal, err.Error(), advice)}
	}
	_, err = o.Temporal.WorkflowService().DescribeNamespace(ctx,
		&workflowservice.DescribeNamespaceRequest{Namespace: o.Namespace})
	if err != nil {
		return []flightctl.Finding{failed(SubjectTemporal, fmt.Sprintf("namespace %s: %v", o.Namespace, err),
			"create it with `temporal operator namespace create`, or get the right to it")}
	}
	found := []flightctl.Finding{ok(SubjectTemporal, "namespace "+o.Namespace+" answers", info.GetServerVersion())}
	if o.IsWorker {
		return found
	}
	return append(found, workers(ctx, o))
}

// workers looks whether a worker polls the task queue.
func workers(ctx context.Context, o Options) flightctl.Finding {
	queue, err := o.Temporal.DescribeTaskQueue(ctx, o.TaskQueue, enums.TASK_QUEUE_TYPE_WORKFLOW)
	switch {
	case err != nil:
		return warning(SubjectTemporal, fmt.Sprintf("task queue %s: %v", o.TaskQueue, err), "see whether a worker runs")
	case len(queue.GetPollers()) == 0:
		return warning(SubjectTemporal, "no worker polls the task queue "+o.TaskQueue,
			"start one: worker --task-queue "+o.TaskQueue)
	}
	return ok(SubjectTemporal,
		fmt.Sprintf("workers that poll the task queue %s: %d", o.TaskQueue, len(queue.GetPollers())), "")
}
