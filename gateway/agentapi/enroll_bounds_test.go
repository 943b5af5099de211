package agentapi_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"rollcall/gateway/agentapi"
	"rollcall/runbook"
)

// A program with the bootstrap certificate posts requests under names of its own. Two gateways count together.
func TestPendingRequestsAreBounded(t *testing.T) {
	t.Parallel()
	few := func(c *agentapi.Config) { c.MaxPendingRequests = 3 }
	b := newBench(t, few)
	second := newBenchOn(t, b.url, few)
	first := b.newcomer()
	requirePending(t, first.post(""), http.StatusCreated)
	var flood sync.WaitGroup
	for i := range 12 {
		n := []*bench{b, second}[i%2].newcomer(fmt.Sprintf("flood-%d", i))
		flood.Go(func() {
			if got := n.post(""); got.code != http.StatusCreated && got.code != http.StatusTooManyRequests {
				panic(fmt.Sprint(got))
			}
		})
	}
	flood.Wait()
	require.Equal(t, 3, b.count(`select count(*) from enrollment_requests`))
	require.Equal(t, 10, b.refusals("pending")+second.refusals("pending"))
	requireStatus(t, b.newcomer().post(""), http.StatusTooManyRequests, "an operator has to decide")
	first.requireThere(first.post(""))

	b.decided(first.name)
	requirePending(t, b.newcomer().post(""), http.StatusCreated)
}

func TestRequestsOfOneAddressAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.RequestsPerMinute = 4 })
	n := b.newcomer()
	requirePending(t, n.post(""), http.StatusCreated)
	for range 3 {
		n.requireThere(n.post(""))
	}
	requireStatus(t, b.newcomer().post(""), http.StatusTooManyRequests, "posted 4 enrollment requests")
	require.Equal(t, 1, b.refusals("rate"))
	requirePending(t, n.get(), http.StatusOK)
	require.Equal(t, 1, b.count(`select count(*) from enrollment_requests`))
}

// A request that changes with each attempt is stored as it is now, and writes no event each time.
func TestAChangingRequestWritesFewEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	requirePending(t, n.post(`"1"`), http.StatusCreated)
	for version := range 40 {
		n.requireThere(n.post(fmt.Sprintf(`"%d"`, 100+version)))
	}
	require.Equal(t, 6, b.count(`select count(*) from events`), "the first, and five of its changes")
	require.Equal(t, 1, b.count(`select count(*) from enrollment_requests where spec ->> 'knownRenderedVersion' = '139'`))
	require.Equal(t, 35, b.count(`select held_back from rollcall.request_posts`))
	b.store.DB().MustExec(`update rollcall.request_posts set told_since = told_since - interval '2 minutes'`)
	n.requireThere(n.post(`"200"`))
	require.Equal(t, 1, b.count(`select count(*) from events where message like '%version 200; 35 changes before it%'`))
}

// What was posted after the restore expires; what the restore has found in the backup does not.
func TestPostedRequestsExpire(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.RequestTTL = time.Second })
	c := b.work()
	backup, decided, later := b.newcomer("backup"), b.newcomer("decided"), b.newcomer("later")
	requirePending(t, decided.post(""), http.StatusCreated)
	b.decided("decided")
	insert := func(n *newcomer) {
		b.store.DB().MustExec(`insert into enrollment_requests (org_id, name, spec, status, created_at)
			values ($1, $2, jsonb_build_object('csr', cast($3 as text)), '{"conditions": []}', now() - interval '1 year')`,
			runbook.DefaultOrgID, n.name, n.csr())
	}
	insert(backup)
	b.restoreRequests("night")
	insert(later) // it was never posted, and carries no mark of a restore
	backup.requireThere(backup.post(""))
	later.requireThere(later.post(""))
	// One that was posted and is in the backup of the next restore.
	marked := b.newcomer("marked")
	requirePending(t, marked.post(""), http.StatusCreated)
	b.store.DB().MustExec(`update enrollment_requests
		set annotations = '{"device-controller/awaitingReconnect": "true"}' where name = 'marked'`)
	posted := b.newcomer("posted")
	requirePending(t, posted.post(`"3"`), http.StatusCreated)
	require.Eventually(t, func() bool { return posted.get().code == http.StatusNotFound }, waitLimit, 50*time.Millisecond)
	require.False(t, isAbsent(posted.get()))
	require.Equal(t, 1,
		b.count(`select count(*) from events where reason = 'ResourceDeleted' and involved_object_name = 'posted'`))
	require.Zero(t, b.count(`select count(*) from rollcall.request_keys where name = 'posted'`), "no one has let it in")
	require.Eventually(t, func() bool {
		run, err := c.DescribeWorkflowExecution(t.Context(), runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, "posted"), "")
		return err == nil && run.WorkflowExecutionInfo.Status == enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	}, waitLimit, 50*time.Millisecond)
	for _, n := range []*newcomer{backup, later, marked} {
		requirePending(t, n.get(), http.StatusOK)
	}
	requireApproved(t, decided.get())
	require.Contains(t, b.ops("/metrics").body, "rollcall_gateway_requests_expired_total 1")

	// An agent that is still there posts it again, and it is as good as new.
	requirePending(t, posted.post(`"3"`), http.StatusCreated)
	require.Equal(t, runbook.KeyNew, b.position("posted").Key)
}
