package host

import (
	"context"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"rollcall/runbook"
)

// Unstick makes a client's worker give back the workflows that wait for a human: their next task goes to any worker, with
// the whole history, and not to the one that had them last. After days that one has dropped them, and Temporal before 1.31
// then fails the first task of an update: what the worker reads again lacks the events that Temporal has not written yet
// (temporalio/temporal#7741). Whoever resumed a device would see a failed workflow task, and wait for another.
func Unstick(options *client.Options) {
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithChainUnaryInterceptor(unstick))
}

func unstick(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if answer, ok := req.(*workflowservice.RespondWorkflowTaskCompletedRequest); ok && waitsForHuman(answer) {
		answer.StickyAttributes = nil
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// waitsForHuman tells the answers that leave an enrollment request or a paused device waiting. A device that was put on the
// roll has nothing to say in its first task; one that has written something, or answered a human, and goes on is paused.
// (Those that report next keep their worker, which may well have them yet.) One that is paused from its start, as its
// workflow was terminated or another restore has taken it over, keeps its worker until then. An answer that asks for
// the next task at once, because a local activity takes long, is none.
func waitsForHuman(answer *workflowservice.RespondWorkflowTaskCompletedRequest) bool {
	id := strings.TrimPrefix(answer.GetResourceId(), "workflow:")
	_, _, device := runbook.ParseDeviceWorkflowID(id)
	switch {
	case answer.GetForceCreateNewWorkflowTask():
		return false
	case device:
		return len(answer.GetCommands())+len(answer.GetMessages()) > 0
	default:
		return runbook.IsEnrollmentWorkflowID(id)
	}
}
