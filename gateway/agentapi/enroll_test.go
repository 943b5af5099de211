package agentapi_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestWhoMayEnroll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	issue := func(p authority.Pair, err error) authority.Pair {
		t.Helper()
		require.NoError(t, err)
		return p
	}
	for name, p := range map[string][]authority.Pair{
		"no certificate":      nil,
		"another authority's": {issue(newAuthority(t).Enrollment("", lifetime))},
		"expired":             {issue(b.ca.Enrollment("", -time.Minute))},
		"a server's":          {issue(b.ca.Server([]string{"client-enrollment"}, lifetime))},
	} {
		n.http = b.client(p...)
		_, err := n.try(http.MethodGet, requestsPath+"/"+n.name, nil)
		require.ErrorContains(t, err, "tls: ", name)
	}
	for _, cn := range []string{
		"device:" + n.name, "device:other", n.name, "client-enrollment-", "client-enrollmentx", "Client-Enrollment", "",
	} {
		n.http = b.client(issue(b.ca.Client(cn, lifetime)))
		requireStatus(t, n.post(""), http.StatusForbidden, "certificate")
		requireStatus(t, n.get(), http.StatusForbidden, "certificate")
	}
	require.Empty(t, b.signals.enrollments())
	b.give(map[string]string{n.name: "5"})
	for i, suffix := range []string{"", "site-1"} {
		n.http = b.client(issue(b.ca.Enrollment(suffix, lifetime)))
		require.Equal(t, []int{http.StatusCreated, http.StatusConflict}[i], n.post("").code)
		requirePending(t, n.get(), http.StatusOK)
		requireStatus(t, n.poll("5"), http.StatusForbidden, "certificate")
		requireStatus(t, n.put(`{}`), http.StatusForbidden, "certificate")
	}
}

func TestARequestIsStoredAndSomebodyIsAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	requireStatus(t, n.get(), http.StatusNotFound, n.name)
	body := n.request(`"8"`)
	got := requirePending(t, n.do(http.MethodPost, requestsPath, body), http.StatusCreated)
	require.Equal(t, n.name, got.Metadata.Name)
	require.Empty(t, got.Spec, "the agent has just sent it")
	got = requirePending(t, n.get(), http.StatusOK)
	require.JSONEq(t, requestSpec(t, body), string(got.Spec))
	require.NotNil(t, got.Metadata.CreationTimestamp)
	again := n.requireThere(n.do(http.MethodPost, requestsPath, body))
	require.Equal(t, got, again, "the same again changes nothing")
	require.Equal(t, got, requirePending(t, n.get(), http.StatusOK))
	require.Equal(t, []runbook.EnrollmentInput{{OrgID: runbook.DefaultOrgID, Name: n.name}}, b.signals.enrollments())
	require.Equal(t, 1,
		b.count(`select count(*) from events where involved_object_kind = 'EnrollmentRequest' and reason = 'ResourceCreated'
			and type = 'Normal'`))

	again = n.requireThere(n.post(`9`))
	require.Contains(t, string(again.Spec), `"knownRenderedVersion":9`, "a number is a version too")
	require.Equal(t, got.Metadata.CreationTimestamp, again.Metadata.CreationTimestamp)
	require.Equal(t, "2", again.Metadata.ResourceVersion)
	require.Equal(t, runbook.StateAwaitingReconnect, b.position(n.name).Begins)

	b.roll("r1")
	other := b.newcomer()
	requirePending(t, other.post(""), http.StatusCreated)
	require.Equal(t, "r1", b.signals.enrollments()[1].RestoreID)

	b.store.DB().MustExec(`update enrollment_requests set deleted_at = now() where name = $1`, n.name)
	requireStatus(t, n.get(), http.StatusNotFound, n.name)
	requirePending(t, n.post(""), http.StatusCreated)
	require.Len(t, b.signals.enrollments(), 3, "it is another request than the one asked about a moment ago")
}

func TestWhatIsTheServicesNeverComesFromAnAgent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer("web-1")
	const mark = `"annotations":{"device-controller/awaitingReconnect":"true","a":"b"}`
	body := fmt.Sprintf(`{"apiVersion":"flightctl.io/v1alpha1","kind":"EnrollmentRequest","metadata":{"name":"web-1","owner":"Fleet/x","labels":{"site":"rome"},%s},
		"spec":{"csr":%q},"status":{"approval":{"approved":true},"certificate":"x","conditions":[{"type":"Approved","status":"True"}]}}`, mark, n.csr())
	for _, code := range []int{http.StatusCreated, http.StatusConflict} {
		require.Equal(t, code, n.do(http.MethodPost, requestsPath, body).code)
		got := requirePending(t, n.get(), http.StatusOK)
		require.Empty(t, got.Metadata.Annotations)
		require.Empty(t, got.Metadata.Owner)
		require.Equal(t, map[string]string{"site": "rome"}, got.Metadata.Labels)
	}
	require.Equal(t, runbook.StateNormal, b.position("web-1").Begins)
}

// Each way in which a request of that name may stand when an agent brings one.
func TestAnAgentThatAsksAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	pending, approved, gone, denied := b.newcomer("pending"), b.newcomer("approved"), b.newcomer("gone"),
		b.newcomer("denied")
	for _, n := range []*newcomer{pending, approved, gone, denied} {
		requirePending(t, n.post(`"7"`), http.StatusCreated)
	}
	for _, name := range []string{"approved", "gone"} {
		b.decided(name)
	}
	b.denied("denied")
	// The backup holds these; its restore begins.
	b.restoreRequests("night")
	require.Equal(t, runbook.StateAwaitingReconnect, b.position("pending").Begins)
	b.store.DB().MustExec(`delete from devices where name = 'gone'`)

	again := pending.requireThere(pending.post(`"0"`))
	require.Equal(t, "true", again.Metadata.Annotations[runbook.AnnotationAwaitingReconnect])
	require.Equal(t, runbook.StateAwaitingReconnect, b.position("pending").Begins,
		"it was in the backup, whatever it says now")

	requireStatus(t, approved.post(`"9"`), http.StatusConflict, "device is there")
	requireApproved(t, approved.get())
	requireStatus(t, denied.post(`"9"`), http.StatusConflict, "has been denied, and the denial stands")
	require.NotContains(t, denied.post(`"9"`).body, "alice", "agents are not told who decided")
	got := requireRequest(t, denied.get(), http.StatusOK)
	require.Equal(t, "Denied", got.Status.Conditions[0].Type)
	require.Equal(t, "True", got.Status.Conditions[0].Status)
	require.NotContains(t, *b.text(`select spec::text from enrollment_requests where name = 'denied'`), `"9"`)

	fresh := requirePending(t, gone.post(`"9"`), http.StatusCreated)
	require.Empty(t, fresh.Metadata.Annotations)
	require.Equal(t, runbook.EnrollmentPending, b.position("gone").State)
	require.Equal(t, "night", b.signals.enrollments()[len(b.signals.enrollments())-1].RestoreID)
	b.decided("gone")
	requireApproved(t, gone.get())
}

// restoreRequests is a restore that has put everything on its roll, requests as well.
func (b *bench) restoreRequests(id string) {
	b.t.Helper()
	_, err := b.store.OpenRestore(b.t.Context(), inventory.OpenRestoreInput{ID: id, By: "alice"})
	require.NoError(b.t, err)
	_, err = b.store.PutOnRoll(b.t.Context(), inventory.RollInput{RestoreID: id})
	require.NoError(b.t, err)
	_, err = b.store.AnnotateRequests(b.t.Context(), inventory.RollInput{RestoreID: id})
	require.NoError(b.t, err)
	_, err = b.store.FinishRoll(b.t.Context(), id)
	require.NoError(b.t, err)
}

func TestARequestThatArrivesWhileTheRollIsMadeWasNotInTheBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	before, gone := b.newcomer("before"), b.newcomer("gone")
	requirePending(t, before.post(""), http.StatusCreated)
	requirePending(t, gone.post(""), http.StatusCreated)
	b.decided("gone")
	b.store.DB().MustExec(`delete from devices`)
	_, err := b.store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r1"})
	require.NoError(t, err)
	during := b.newcomer("during")
	requirePending(t, during.post(""), http.StatusCreated)
	before.requireThere(before.post(`"3"`))
	requirePending(t, gone.post(""), http.StatusCreated)
	_, err = b.store.AnnotateRequests(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	for name, want := range map[string]runbook.State{
		"before": runbook.StateAwaitingReconnect, "during": runbook.StateNormal, "gone": runbook.StateNormal,
	} {
		require.Equal(t, want, b.position(name).Begins, name)
	}
}

func TestManyIdenticalRequestsAreOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.OpenEnrollments, c.OpenPerSource = 200, 200 })
	c := b.work()
	n := b.newcomer()
	body := n.request(`"8"`)
	var created, busy atomic.Int64
	var wg sync.WaitGroup
	for range 40 { // those who are one too many ask again at once, and take a busy machine's time
		wg.Go(func() {
			for {
				got := n.do(http.MethodPost, requestsPath, body)
				switch got.code {
				case http.StatusTooManyRequests:
					busy.Add(1)
					continue
				case http.StatusCreated:
					created.Add(1)
				default:
					require.Equal(t, http.StatusConflict, got.code, got.body)
				}
				return
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, created.Load())
	require.Positive(t, busy.Load(), "no more than a few at a time")
	require.Equal(t, 1, b.count(`select count(*) from enrollment_requests`))
	require.Equal(t, 1, b.count(`select count(*) from events where involved_object_kind = 'EnrollmentRequest'`))
	require.Equal(t, "1", requirePending(t, n.get(), http.StatusOK).Metadata.ResourceVersion)
	require.Eventually(t, func() bool { return len(b.runs(c, n.name)) > 0 }, waitLimit, 50*time.Millisecond)
	require.Len(t, b.runs(c, n.name), 1)
}

func TestATemporalThatIsAwayIsA503ForARequestToo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	closed, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: log.NewStructuredLogger(quiet())})
	require.NoError(t, err)
	defer closed.Close()
	b.to(closed)
	patientOne, goneOne := b.newcomer(), b.newcomer()
	for _, n := range []*newcomer{patientOne, goneOne} {
		requireStatus(t, n.post(""), http.StatusServiceUnavailable, "try again")
		requirePending(t, n.get(), http.StatusOK)
	}
	// One comes again when Temporal is back; the other only looks whether it has been let in.
	c := b.work()
	patientOne.requireThere(patientOne.post(""))
	require.Equal(t, runbook.EnrollmentApproved, b.approve(c, patientOne.name).State)
	require.Eventually(t, func() bool {
		requirePending(t, goneOne.get(), http.StatusOK)
		_, err := c.DescribeWorkflowExecution(t.Context(), runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, goneOne.name),
			"")
		return err == nil
	}, waitLimit, 100*time.Millisecond)
}

func TestAnAgentThatLooksOftenAsksTemporalOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.store.DB().MustExec(`insert into enrollment_requests (org_id, name) values ($1, 'imported')`, runbook.DefaultOrgID)
	n := b.newcomer("imported")
	for range 20 {
		requirePending(t, n.get(), http.StatusOK)
	}
	require.Len(t, b.signals.enrollments(), 1)
}

func TestADatabaseThatIsAwayIsA503ForARequestToo(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(b *bench){
		"no connection": func(b *bench) { require.NoError(t, b.serving.Close()) },
		"no table":      func(b *bench) { b.store.DB().MustExec(`drop table enrollment_requests`) },
		"half a schema": func(b *bench) { b.store.DB().MustExec(`drop schema rollcall cascade`) },
		"no organisation": func(b *bench) {
			b.store.DB().MustExec(`delete from organizations`)
			b.store.DB().MustExec(`drop table devices cascade`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			spoil(b)
			n := b.newcomer()
			for range 2 {
				requireStatus(t, n.post(""), http.StatusServiceUnavailable, "try again")
				requireStatus(t, n.get(), http.StatusServiceUnavailable, "try again")
			}
			require.Empty(t, b.signals.enrollments())
		})
	}
}
