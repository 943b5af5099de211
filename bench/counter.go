package main

import (
	"encoding/json"
	"hash/maphash"
	"net/http"
	"sync"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// counts is what a worker process of the bench tells on request: the workflows of devices, ours or the floor's, whose
// first task it has begun, and those that it has seen end.
type counts struct {
	Begun int `json:"begun"`
	Ended int `json:"ended"`
}

// counter counts devices' workflows in a worker, each once, however often its tasks are tried.
type counter struct {
	interceptor.InterceptorBase
	seed         maphash.Seed
	mu           sync.Mutex
	begun, ended map[uint64]struct{}
}

func newCounter() *counter {
	return &counter{seed: maphash.MakeSeed(), begun: map[uint64]struct{}{}, ended: map[uint64]struct{}{}}
}

// InterceptWorkflow puts the counter around each workflow.
func (c *counter) InterceptWorkflow(
	_ workflow.Context, next interceptor.WorkflowInboundInterceptor,
) interceptor.WorkflowInboundInterceptor {
	w := &countedWorkflow{counter: c}
	w.Next = next
	return w
}

// ServeHTTP answers with the counts.
func (c *counter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	now := counts{Begun: len(c.begun), Ended: len(c.ended)}
	c.mu.Unlock()
	_ = json.NewEncoder(w).Encode(now) // who asked has gone
}

func (c *counter) add(to map[uint64]struct{}, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	to[maphash.String(c.seed, id)] = struct{}{}
}

type countedWorkflow struct {
	interceptor.WorkflowInboundInterceptorBase
	counter *counter
}

// ExecuteWorkflow counts the beginning and the end. A replay counts as well, since a worker that takes over begins with
// one.
func (w *countedWorkflow) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	info := workflow.GetInfo(ctx)
	if kind := info.WorkflowType.Name; kind != floorDevice && kind != runbook.DeviceWorkflowName {
		return w.Next.ExecuteWorkflow(ctx, in)
	}
	w.counter.add(w.counter.begun, info.WorkflowExecution.ID)
	result, err := w.Next.ExecuteWorkflow(ctx, in)
	w.counter.add(w.counter.ended, info.WorkflowExecution.ID)
	return result, err
}
