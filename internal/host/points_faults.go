//go:build faults

package host

import (
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"rollcall/activities"
	"rollcall/internal/fault"
	"rollcall/runbook"
)

// mark adds a point before and after each call to Temporal, named after the call, such as
// "RespondWorkflowTaskCompleted.before"; a task completion that starts children passes "ChildStart.before" and
// "ChildStart.after" as well.
func mark(options *client.Options) {
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions,
		grpc.WithChainUnaryInterceptor(bugs, points))
	options.Interceptors = append(options.Interceptors, &twice{})
}

func points(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	names := []string{path.Base(method)}
	if completed, ok := req.(*workflowservice.RespondWorkflowTaskCompletedRequest); ok && startsChild(completed) {
		names = append(names, "ChildStart")
	}
	for _, name := range names {
		fault.At(name + ".before")
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	for _, name := range names {
		fault.At(name + ".after")
	}
	return err
}

func startsChild(completed *workflowservice.RespondWorkflowTaskCompletedRequest) bool {
	for _, command := range completed.GetCommands() {
		if command.GetCommandType() == enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION {
			return true
		}
	}
	return false
}

// The planted bugs. The harness must find each.
const (
	bugLostReport = "lost-report"
	bugForeign    = "foreign-message"
	bugTwice      = "resume-twice"
	bugOthers     = "resume-others"
	bugApproved   = "approve-twice"
	bugPlan       = "plan-lies"
)

var reports atomic.Int64

// bugs loses every third report that it acknowledges, or sends it to the device of that name in the default
// organisation.
func bugs(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	signal, ok := req.(*workflowservice.SignalWorkflowExecutionRequest)
	if !ok || signal.GetSignalName() != runbook.SignalReconnect || reports.Add(1)%3 != 0 {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	if fault.Planted(bugLostReport) {
		return nil
	}
	if fault.Planted(bugForeign) {
		id := signal.GetWorkflowExecution().GetWorkflowId()
		_, name, _ := strings.Cut(strings.TrimPrefix(id, "device/"), "/")
		signal.GetWorkflowExecution().WorkflowId = runbook.DeviceWorkflowID(runbook.DefaultOrgID, name)
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// twice tells the second of two who resume a device, or who approve a request, that the decision is theirs as well. It
// tells a plan that a device was resumed, and resumes none.
type twice struct{ interceptor.InterceptorBase }

// InterceptWorkflow is called for each run of a workflow.
func (*twice) InterceptWorkflow(
	_ workflow.Context, next interceptor.WorkflowInboundInterceptor,
) interceptor.WorkflowInboundInterceptor {
	return &twiceInbound{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type twiceInbound struct {
	interceptor.WorkflowInboundInterceptorBase
}

// ExecuteUpdate carries out an update.
func (i *twiceInbound) ExecuteUpdate(ctx workflow.Context, in *interceptor.UpdateInput) (any, error) {
	if fault.Planted(bugPlan) && strings.HasPrefix(workflow.GetCurrentUpdateInfo(ctx).ID, "plan/") {
		return runbook.ResumeDecision{Accepted: true}, nil
	}
	answer, err := i.Next.ExecuteUpdate(ctx, in)
	switch decision := answer.(type) {
	case runbook.ResumeDecision:
		if fault.Planted(bugTwice) && decision.Code == runbook.CodeAlreadyResumed {
			decision.Accepted, decision.Code, decision.Message = true, "", ""
		}
		return decision, err
	case runbook.EnrollmentDecision:
		if fault.Planted(bugApproved) && decision.Code == runbook.CodeAlreadyApproved {
			decision.Accepted, decision.Code, decision.Message = true, "", ""
		}
		return decision, err
	}
	return answer, err
}

// plant returns Flight Control as the worker sees it.
func plant(beside activities.FlightControl) activities.FlightControl {
	if beside == nil || !fault.Planted(bugOthers) {
		return beside
	}
	return &others{FlightControl: beside}
}

// others asks Flight Control to resume, with the devices that are to be resumed, each that it has marked.
type others struct {
	activities.FlightControl
	mu     sync.Mutex
	marked []string
}

// MarkAwaiting notes which devices there are.
func (o *others) MarkAwaiting(ctx context.Context, orgID string, names []string) error {
	o.mu.Lock()
	o.marked = append(o.marked, names...)
	o.mu.Unlock()
	return o.FlightControl.MarkAwaiting(ctx, orgID, names)
}

// Resume resumes these devices, and all others that are paused.
func (o *others) Resume(ctx context.Context, orgID string, names []string, requestID string) (int, error) {
	o.mu.Lock()
	all := append(slices.Clone(names), o.marked...)
	o.mu.Unlock()
	slices.Sort(all)
	return o.FlightControl.Resume(ctx, orgID, slices.Compact(all), requestID)
}
