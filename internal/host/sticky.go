package host

import (
	"context"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"

	"rollcall/runbook"
)

// DisableStickyQueue makes a client's worker give back devices and enrollment requests, which wait for an agent or a
// human: their next task goes to any worker, with the whole history, and not to the one that had them last. After
// hours and days that one has dropped them, and Temporal before 1.31 then fails the first task of an update: what the
// worker reads again lacks the events that Temporal has not written yet (temporalio/temporal#7741). Whoever resumed a
// device would see a failed workflow task, and wait for another.
func DisableStickyQueue(options *client.Options) {
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions,
		grpc.WithChainUnaryInterceptor(disableStickyQueue))
}

func disableStickyQueue(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if answer, ok := req.(*workflowservice.RespondWorkflowTaskCompletedRequest); ok && waits(answer) {
		answer.StickyAttributes = nil
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// waits tells the answers that leave a device or an enrollment request waiting. One that asks for the next task at
// once, because a local activity takes long, does not.
func waits(answer *workflowservice.RespondWorkflowTaskCompletedRequest) bool {
	if answer.GetForceCreateNewWorkflowTask() {
		return false
	}
	id := strings.TrimPrefix(answer.GetResourceId(), "workflow:")
	_, _, device := runbook.ParseDeviceWorkflowID(id)
	return device || runbook.IsEnrollmentWorkflowID(id)
}
