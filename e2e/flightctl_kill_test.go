package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"rollcall/activities"
	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
	"rollcall/internal/host"
	"rollcall/runbook"
)

// controlled is a site with a worker beside a fake Flight Control, which agents poll.
type controlled struct {
	*site
	fake   *fake.FlightControl
	beside *flightctl.Client
	ca     *authority.CA
	// deadly is how the worker that runs speaks with it.
	deadly *deadly
}

// deadly is a client that stops at one call, for a worker that is killed there.
type deadly struct {
	activities.FlightControl
	// before and after are the calls that it stops before, and after, by name.
	before, after string
	once          sync.Once
	reached       chan struct{}
}

// stop holds the call until the worker is gone.
func (d *deadly) stop(ctx context.Context, at string, call string) error {
	if at != call {
		return nil
	}
	d.once.Do(func() { close(d.reached) })
	<-ctx.Done()
	return ctx.Err()
}

func (d *deadly) MarkAwaiting(ctx context.Context, orgID string, names []string) error {
	if err := d.stop(ctx, d.before, "MarkAwaiting"); err != nil {
		return err
	}
	return d.FlightControl.MarkAwaiting(ctx, orgID, names)
}

func (d *deadly) Resume(ctx context.Context, orgID string, names []string, id string) (int, error) {
	if err := d.stop(ctx, d.before, "Resume"); err != nil {
		return 0, err
	}
	n, err := d.FlightControl.Resume(ctx, orgID, names, id)
	if stopped := d.stop(ctx, d.after, "Resume"); stopped != nil {
		return 0, stopped
	}
	return n, err
}

func newControlled(t *testing.T) *controlled {
	t.Helper()
	dir := t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	c := &controlled{site: newFlightctlSite(t), ca: ca}
	c.fake, err = fake.Start(fake.Config{DatabaseURL: c.database, CA: ca, AgentRequestsPerMinute: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.fake.Close()) })
	c.beside, err = flightctl.Open(c.fake.Client())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.beside.Close()) })
	return c
}

// work runs a worker until die.
func (c *controlled) work(before, after string) (die func()) {
	c.t.Helper()
	c.deadly = &deadly{FlightControl: c.beside, before: before, after: after, reached: make(chan struct{})}
	options := host.WorkerOptions()
	options.WorkerStopTimeout = 0
	own, err := client.Dial(client.Options{HostPort: c.server.Address, Namespace: c.server.Namespace, Logger: quiet})
	require.NoError(c.t, err)
	h, err := host.New(c.t.Context(), host.Config{
		Client: own, Store: c.working, Namespace: c.server.Namespace, TaskQueue: c.taskQueue, Worker: &options,
		Logger: slog.New(slog.DiscardHandler), Flightctl: c.deadly,
	})
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return sync.OnceFunc(func() {
		own.Close() // nothing of what it does comes to the server from now on
		cancel()
		require.NoError(c.t, <-done)
	})
}

var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

// works runs a worker that lives until the end of the test.
func (c *controlled) works() {
	c.t.Helper()
	c.t.Cleanup(c.work("", ""))
}

// dies waits until the worker has come to the call, kills it there and starts another.
func (c *controlled) dies(kill func()) {
	c.t.Helper()
	select {
	case <-c.deadly.reached:
	case <-time.After(waitLimit):
		require.Fail(c.t, "the worker has not come to the call")
	}
	kill()
	c.works()
}

// begin starts the restore. The fleet has rolled its template out: Flight Control renders no other device of a fleet.
func (c *controlled) begin() {
	c.t.Helper()
	_, err := c.owner.DB().ExecContext(c.t.Context(),
		`update devices set annotations = annotations || '{"fleet-controller/templateVersion": "1"}'`)
	require.NoError(c.t, err)
	c.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "100ms"})
}

// newAwaited is a site with a worker, on which a restore awaits the device web-1, restored at 5.
func newAwaited(t *testing.T) *controlled {
	t.Helper()
	c := newControlled(t)
	c.works()
	c.fleet(map[string]string{"web-1": "5"})
	c.begin()
	c.await("web-1", runbook.StateAwaitingReconnect)
	return c
}

// agent makes requests as a device.
func (c *controlled) agent(name string) *http.Client {
	c.t.Helper()
	return c.with(c.ca.Device(name, time.Hour))
}

// with makes requests with a client certificate.
func (c *controlled) with(pair authority.Pair, err error) *http.Client {
	c.t.Helper()
	require.NoError(c.t, err)
	certificate, err := pair.TLS()
	require.NoError(c.t, err)
	agent := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: c.ca.Pool(), Certificates: []tls.Certificate{certificate}},
	}}
	c.t.Cleanup(agent.CloseIdleConnections)
	return agent
}

// polls has a device poll until its row is in this state. An agent that is not paused takes what it is served.
func (c *controlled) polls(name, version string, state runbook.State) {
	c.t.Helper()
	agent := c.agent(name)
	c.eventually(fmt.Sprintf("%s polls with %s until it is %s", name, version, state), func() bool {
		res, err := agent.Get(c.fake.AgentURL() + "/api/v1/devices/" + name + "/rendered?knownRenderedVersion=" + version)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return c.deviceState(name) == state
	})
}

func (c *controlled) deviceState(name string) (state runbook.State) {
	c.t.Helper()
	require.NoError(c.t, c.owner.DB().GetContext(c.t.Context(), &state,
		`select rollcall.device_state(annotations) from devices where name = $1`, name))
	return state
}

func (c *controlled) rendered(name, version string) {
	c.t.Helper()
	c.eventually(name+" is rendered as "+version, func() bool {
		var now string
		require.NoError(c.t, c.owner.DB().GetContext(c.t.Context(), &now,
			`select coalesce(annotations ->> 'device-controller/renderedVersion', '') from devices where name = $1`, name))
		return now == version
	})
}

// isPaused brings a device that was restored at 5 into its conflict.
func (c *controlled) isPaused(name string) {
	c.t.Helper()
	c.await(name, runbook.StateAwaitingReconnect)
	c.fcReports(name, "5")
	c.polls(name, "7", runbook.StateConflictPaused)
	c.await(name, runbook.StateConflictPaused)
}

func (c *controlled) setBack(column string) {
	c.t.Helper()
	_, err := c.owner.DB().ExecContext(c.t.Context(),
		`update rollcall.roll set `+column+` = now() - interval '2 minutes' where `+column+` is not null`)
	require.NoError(c.t, err)
}

func (c *controlled) completes() runbook.RestoreStatus {
	c.t.Helper()
	var status runbook.RestoreStatus
	run := c.client.GetWorkflow(c.t.Context(), runbook.RestoreWorkflowID("r1"), "")
	require.NoError(c.t, run.Get(c.t.Context(), &status))
	require.Equal(c.t, runbook.RestoreCompleted, status.State)
	require.Zero(c.t, status.Waiting())
	return status
}

func TestAWorkerThatDiesBetweenAnnotationAndKey(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	kill := c.work("MarkAwaiting", "")
	c.fleet(map[string]string{"web-1": "5", "web-2": "5"})
	c.begin()
	select {
	case <-c.deadly.reached:
	case <-time.After(waitLimit):
		require.Fail(t, "the worker has not come to the key")
	}
	require.Equal(t, runbook.StateAwaitingReconnect, c.deviceState("web-1"), "the annotation is committed")
	require.Empty(t, c.fake.Store().Keys(), "and no key is written")
	c.dies(kill)
	c.polls("web-1", "5", runbook.StateNormal)
	c.polls("web-2", "4", runbook.StateNormal)
	require.EqualValues(t, 2, c.completes().Counts[runbook.StateNormal])
}

func TestAWorkerThatDiesAroundTheResume(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct{ before, after string }{
		"between the decision and the call": {before: "Resume"},
		"between the call and its answer":   {after: "Resume"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newControlled(t)
			kill := c.work(at.before, at.after)
			c.fleet(map[string]string{"web-1": "5"})
			c.begin()
			c.isPaused("web-1")
			decision, err := c.resume("web-1", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
			require.NoError(t, err)
			require.True(t, decision.Accepted, decision.Message)
			c.dies(kill)
			if at.before != "" {
				c.setBack("sent_at") // it was noted that Flight Control is asked, and it was not
			}
			c.rendered("web-1", "8")
			c.fcReports("web-1", "8")
			result := c.outcome("web-1")
			require.Equal(t, []any{runbook.OutcomeResumed, "alice", "8"}, []any{result.Outcome, result.By, result.Next})
			require.Equal(t, []string{"T3 look service:flightctl", "Decided resume alice", "T4 look alice"}, c.audited("web-1"))
			c.completes()
			resumes := 0
			require.NoError(t, c.owner.DB().GetContext(t.Context(), &resumes,
				`select count(*) from events where reason = 'DeviceConflictResolved'`))
			require.Equal(t, 1, resumes, "it was resumed once")
		})
	}
}

// A worker that stops while Flight Control resumes devices has it finish: it breaks off for a caller that has gone.
func TestAWorkerThatStopsDuringTheResume(t *testing.T) {
	t.Parallel()
	c := newControlled(t)
	stop := c.work("", "")
	c.fleet(map[string]string{"web-1": "5"})
	c.begin()
	c.isPaused("web-1")
	resuming, goOn := make(chan struct{}), make(chan struct{})
	c.fake.Do(fake.ResumeAfterStatement, func(ctx context.Context) {
		close(resuming)
		select {
		case <-ctx.Done():
		case <-goOn:
		}
	})
	_, err := c.resume("web-1", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	<-resuming
	stop()
	_, err = c.beside.User(t.Context(), runbook.DefaultOrgID) // by now the API server would know that the caller has gone
	require.NoError(t, err)
	close(goOn)
	c.rendered("web-1", "8")
	c.works()
	c.fcReports("web-1", "8")
	require.Equal(t, "alice", c.outcome("web-1").By)
	require.NotContains(t, c.audited("web-1"), "Repaired  service:rollcall")
	c.completes()
}

func TestAResumeOfFlightControlThatDiesIsRepaired(t *testing.T) {
	t.Parallel()
	for _, point := range []fake.Point{fake.ResumeAfterStatement, fake.ResumeAfterEvent} {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			c := newControlled(t)
			c.works()
			c.fleet(map[string]string{"web-1": "5"})
			c.begin()
			c.isPaused("web-1")
			c.fake.Kill(point, 1)
			_, err := c.resume("web-1", "u1", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
			require.NoError(t, err)
			c.eventually("the annotation is gone", func() bool { return c.deviceState("web-1") == runbook.StateNormal })
			c.rendered("web-1", "5")
			c.setBack("sent_at")
			c.rendered("web-1", "8")
			c.fcReports("web-1", "8")
			require.Equal(t, "alice", c.outcome("web-1").By)
			require.Contains(t, c.audited("web-1"), "Repaired  service:rollcall")
			c.completes()
		})
	}
}

// Flight Control renders nothing for a device that is paused, its decommissioning as little as anything else. It is
// resumed there, so that its agent hears that it is to leave.
func TestAPausedDeviceHearsThatItIsDecommissioned(t *testing.T) {
	t.Parallel()
	c := newAwaited(t)
	c.isPaused("web-1")
	handle, err := c.client.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: deviceID("web-1"), UpdateID: "w", UpdateName: runbook.UpdateWithdraw,
		Args:         []any{runbook.WithdrawRequest{By: "alice", Decommission: runbook.DecommissionUnenroll}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(t, err)
	var answer runbook.DeviceAnswer
	require.NoError(t, handle.Get(t.Context(), &answer))
	require.True(t, answer.Accepted, answer.Message)
	require.Equal(t, runbook.StateWithdrawn, answer.State)
	c.rendered("web-1", "8")
	require.True(t, c.holds(`select spec #>> '{decommissioning,target}' = 'Unenroll' from devices where name = 'web-1'`))
	require.EqualValues(t, 1, c.completes().Counts[runbook.StateWithdrawn])
}

func TestAKeyThatIsLostWhileItsDeviceWaits(t *testing.T) {
	t.Parallel()
	c := newAwaited(t)
	awaiting := "v1/" + runbook.DefaultOrgID + "/device/web-1/awaiting-reconnect"
	c.eventually("the key is written and the polls are woken", func() bool {
		return c.fake.Store().Exists(awaiting) && c.woken()
	})
	c.fake.Store().Del(awaiting)
	require.NoError(t, c.fake.Store().Set("v1/"+runbook.DefaultOrgID+"/device/web-1/rendered", "5"))
	held := make(chan error, 1)
	agent := c.agent("web-1")
	go func() {
		res, err := agent.Get(c.fake.AgentURL() + "/api/v1/devices/web-1/rendered?knownRenderedVersion=5")
		if err == nil {
			err = res.Body.Close()
		}
		held <- err
	}()
	select {
	case err := <-held:
		require.NoError(t, err)
	case <-time.After(waitLimit):
		require.Fail(t, "the poll that was held has not been woken")
	}
	c.polls("web-1", "5", runbook.StateNormal)
	c.completes()
}

// woken reports whether the watch has ended the polls that were held when it began.
func (c *controlled) woken() bool {
	described, err := c.client.DescribeWorkflowExecution(c.t.Context(), runbook.RestoreWorkflowID("r1"), "")
	if err != nil {
		return false
	}
	for _, pending := range described.GetPendingActivities() {
		for _, payload := range pending.GetHeartbeatDetails().GetPayloads() {
			var progress activities.WatchProgress
			if json.Unmarshal(payload.GetData(), &progress) == nil && progress.Woken {
				return true
			}
		}
	}
	return false
}
