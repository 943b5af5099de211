package activities_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"rollcall/activities"
	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

const (
	waitLimit = 2 * time.Minute
	// often makes a full look several times a second; seldom makes none while a test runs.
	often, seldom = 10 * time.Millisecond, 2 * time.Second
)

// vigil is a watch of a restore r1 in a database of its own, with signals that go nowhere.
type vigil struct {
	t     *testing.T
	store *inventory.Store
	ctx   context.Context
	stop  chan struct{}
	ended chan error

	mu   sync.Mutex
	sent []string
	// fails is what the next signals end with, in their order; nil, or none, is success.
	fails []error
	// broken is what the signals to a device end with; nil is to go by fails.
	broken func(name string) error
	// absent is who has no workflow; nil is no one.
	absent func(name string) bool
	until  activities.WatchProgress
	// workflows is where it looks for workflows; nil is nowhere.
	workflows activities.Workflows
	// flightctl is the Flight Control beside which it watches; nil is none.
	flightctl *fakeStore
}

func newVigil(t *testing.T, names ...string) *vigil {
	t.Helper()
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	var docs []string
	for _, name := range names {
		docs = append(docs, fmt.Sprintf(`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":%q,"annotations":{%q:"5"}},
			"spec":{},"status":{"config":{"renderedVersion":"5"}}}`, name, runbook.AnnotationRenderedVersion))
	}
	_, err = store.Import(t.Context(), strings.NewReader(strings.Join(docs, "\n---\n")), inventory.ImportOptions{})
	require.NoError(t, err)
	_, err = store.OpenRestore(t.Context(), inventory.OpenRestoreInput{ID: "r1"})
	require.NoError(t, err)
	_, err = store.PutOnRoll(t.Context(), inventory.RollInput{RestoreID: "r1"})
	require.NoError(t, err)
	v := &vigil{t: t, store: store, ctx: t.Context()}
	v.exec(`update rollcall.roll set batch = 0, wave = 0`) // the roll call has come to all of them
	return v
}

// SignalWorkflow is where the watch sends its signals.
func (v *vigil) SignalWorkflow(_ context.Context, workflowID, _, signal string, arg any) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, name, _ := runbook.ParseDeviceWorkflowID(workflowID)
	line := name + " " + signal
	if r, ok := arg.(runbook.ReconnectSignal); ok {
		line += " " + r.RenderedVersion
	}
	v.sent = append(v.sent, line)
	if v.absent != nil && v.absent(name) {
		return serviceerror.NewNotFound("no such workflow")
	}
	if v.broken != nil {
		return v.broken(name)
	}
	if len(v.fails) == 0 {
		return nil
	}
	err := v.fails[0]
	v.fails = v.fails[1:]
	return err
}

// start begins an attempt at watching; until is the heartbeat of the one before.
func (v *vigil) start(every time.Duration, until time.Time) *vigil {
	v.t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(waitLimit)
	v.stop, v.ended = make(chan struct{}), make(chan error, 1)
	env.SetWorkerStopChannel(v.stop)
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: v.ctx})
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.until = activities.WatchProgress{}
		_ = details.Get(&v.until)
	})
	watches := &activities.Activities{Inventory: v.store, Temporal: v}
	if v.workflows != nil {
		watches.Workflows = v.workflows
	}
	if v.flightctl != nil {
		watches.Flightctl = v.flightctl
	}
	env.RegisterActivity(watches)
	if !until.IsZero() {
		env.SetHeartbeatDetails(activities.WatchProgress{Until: until})
	}
	go func() {
		_, err := env.ExecuteActivity("WatchInventory", activities.WatchInput{RestoreID: "r1", Every: every})
		v.ended <- err
	}()
	return v
}

// end stops the worker, and returns what the attempt ended with.
func (v *vigil) end() error {
	v.t.Helper()
	close(v.stop)
	return v.outcome()
}

func (v *vigil) outcome() error {
	v.t.Helper()
	select {
	case err := <-v.ended:
		return err
	case <-time.After(waitLimit):
		v.t.Fatal("the watch has not ended")
		return nil
	}
}

func (v *vigil) exec(statement string) {
	v.t.Helper()
	_, err := v.store.DB().ExecContext(v.t.Context(), statement)
	require.NoError(v.t, err)
}

// heartbeat is the last that the server would have got.
func (v *vigil) heartbeat() activities.WatchProgress {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.until
}

// reported is a report that the gateway has noted.
func (v *vigil) reported(name, version string) {
	v.t.Helper()
	noted, err := v.store.NoteReports(v.t.Context(), runbook.DefaultOrgID,
		[]inventory.NoteReportInput{{RestoreID: "r1", Name: name, Version: version}})
	require.NoError(v.t, err)
	require.Len(v.t, noted, 1)
}

// deletedLongAgo is a device of which a look finds that it is gone only if it goes back to before the watch.
func (v *vigil) deletedLongAgo(name string) {
	v.t.Helper()
	v.exec(`update devices set updated_at = now() - interval '2 hours', deleted_at = now() - interval '2 hours'
		where name = '` + name + `'`)
}

func (v *vigil) signals() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.sent)
}

// awaits waits until these signals were sent, in any order, and no other.
func (v *vigil) awaits(want ...string) {
	v.t.Helper()
	require.Eventually(v.t, func() bool { return len(v.signals()) >= len(want) }, waitLimit, 5*time.Millisecond)
	got := v.signals()
	slices.Sort(got)
	require.Equal(v.t, want, got)
}

func TestTheWatchSignalsOnce(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b", "c")
	v.reported("a", "7")
	v.start(seldom, time.Time{}).awaits("a reconnect 7")
	v.reported("b", "5")
	v.awaits("a reconnect 7", "b reconnect 5")
	v.reported("a", "8")
	v.awaits("a reconnect 7", "a reconnect 8", "b reconnect 5")
	v.exec(`delete from devices where name = 'c'`)
	v.awaits("a reconnect 7", "a reconnect 8", "b reconnect 5", "c look")
	require.ErrorContains(t, v.end(), "another one goes on")
}

func TestTheWatchTellsAgainWhoDoesNothing(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a")
	v.reported("a", "7")
	v.start(often, time.Time{})
	require.Eventually(t, func() bool { return len(v.signals()) >= 2 }, waitLimit, 5*time.Millisecond)
	require.Error(t, v.end())
}

func TestTheWatchGoesOnFromTheHeartbeat(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "told", "new")
	v.deletedLongAgo("told")
	v.reported("new", "5")
	v.start(often, time.Now()).awaits("new reconnect 5")
	require.Eventually(t, func() bool { return slices.Contains(v.signals(), "told look") }, waitLimit, 5*time.Millisecond,
		"a full look finds who the attempt before has told in vain")
	require.Error(t, v.end())
}

func TestAWorkflowThatIsNotThereYetIsToldAtTheNextLook(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b")
	v.fails = []error{serviceerror.NewNotFound("no such workflow")}
	v.deletedLongAgo("a")
	v.start(seldom, time.Time{}).awaits("a look", "a look")
	v.reported("b", "5")
	v.awaits("a look", "a look", "b reconnect 5")
	require.Error(t, v.end())
}

// A fleet that reports while its workflows are still being started is not signalled all at once, again and again, in
// vain: the first of the roll, whose turn it is, are tried before those who follow, and each less and less often. In
// the end everybody is told.
func TestWorkflowsThatAreNotThereYetAreNotAllTriedAtEachLook(t *testing.T) {
	t.Parallel()
	const fleet = 600
	names := make([]string, fleet)
	for i := range names {
		names[i] = fmt.Sprintf("d-%03d", i)
	}
	v := newVigil(t, names...)
	v.exec(`update rollcall.roll set noted_version = '7'`)
	first, last := "d-000 reconnect 7", "d-599 reconnect 7"
	v.absent = func(string) bool { return true }
	v.start(often, time.Time{})
	require.Eventually(t, func() bool { return slices.Contains(v.signals(), last) }, waitLimit, 5*time.Millisecond)
	sent := v.signals()
	before := sent[:slices.Index(sent, last)]
	again := 0
	for _, signal := range before {
		if signal == first {
			again++
		}
	}
	require.GreaterOrEqual(t, again, 3, "others come before their turn")

	v.mu.Lock()
	v.absent, v.sent = nil, nil
	v.mu.Unlock()
	require.Eventually(t, func() bool {
		told := map[string]bool{}
		for _, signal := range v.signals() {
			told[signal] = true
		}
		return len(told) == fleet
	}, waitLimit, 5*time.Millisecond)
	require.Error(t, v.end())
}

func TestASignalThatFailsIsNotForgotten(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a")
	v.fails = []error{errors.New("connection refused")}
	v.reported("a", "7")
	v.start(often, time.Time{}).awaits("a reconnect 7", "a reconnect 7")
	require.Error(t, v.end())
}

func TestAServerThatRefusesEverythingEndsTheAttempt(t *testing.T) {
	t.Parallel()
	names := make([]string, 60)
	for i := range names {
		names[i] = fmt.Sprintf("d-%02d", i)
	}
	v := newVigil(t, names...)
	v.exec(`update rollcall.roll set noted_version = '7'`)
	v.broken = func(string) error { return errors.New("connection refused") }
	require.ErrorContains(t, v.start(seldom, time.Time{}).outcome(), "connection refused")
	require.Zero(t, v.heartbeat().Until, "the watermark has not moved past a signal that was not sent")
	v.mu.Lock()
	v.broken, v.sent = nil, nil
	v.mu.Unlock()
	v.start(seldom, v.heartbeat().Until)
	require.Eventually(t, func() bool { return len(v.signals()) == len(names) }, waitLimit, 5*time.Millisecond)
	require.Error(t, v.end())
}

// One device whose workflow cannot be signalled keeps no other from its turn, and is not forgotten.
func TestADeviceThatFailsStopsNoOther(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b", "c")
	v.broken = func(name string) error {
		if name == "a" {
			return errors.New("its history is too long")
		}
		return nil
	}
	for _, name := range []string{"a", "b", "c"} {
		v.reported(name, "7")
	}
	v.start(often, time.Time{})
	require.Eventually(t, func() bool {
		sent := v.signals()
		again := slices.DeleteFunc(slices.Clone(sent), func(s string) bool { return s != "a reconnect 7" })
		return len(again) >= 2 && slices.Contains(sent, "b reconnect 7") && slices.Contains(sent, "c reconnect 7")
	}, waitLimit, 5*time.Millisecond)
	require.Zero(t, v.heartbeat().Until, "the watermark has not moved past a signal that was not sent")
	require.Eventually(t, func() bool { return strings.Contains(v.heartbeat().Failing, "its history is too long") },
		waitLimit, 5*time.Millisecond, "the heartbeat says what fails")
	require.Contains(t, v.heartbeat().Failing, "signals: device a: ")
	v.mu.Lock()
	v.broken = nil
	v.mu.Unlock()
	require.Eventually(t, func() bool { return v.heartbeat().Failing == "" }, waitLimit, 5*time.Millisecond,
		"and that nothing fails any more")
	require.ErrorContains(t, v.end(), "another one goes on")
}

func TestTheWatchEnds(t *testing.T) {
	t.Parallel()
	t.Run("with its restore", func(t *testing.T) {
		t.Parallel()
		v := newVigil(t, "a")
		v.start(often, time.Time{})
		_, err := v.store.CloseRestore(t.Context(),
			inventory.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
		require.NoError(t, err)
		v.exec(`update rollcall.roll set noted_version = '7'`)
		require.NoError(t, v.outcome())
		require.Empty(t, v.signals())
	})
	t.Run("when it is cancelled", func(t *testing.T) {
		t.Parallel()
		v := newVigil(t, "a")
		ctx, cancel := context.WithCancel(t.Context())
		v.ctx = ctx
		v.start(seldom, time.Time{})
		cancel()
		require.Error(t, v.outcome())
	})
	t.Run("with the database's failure, to be tried again", func(t *testing.T) {
		t.Parallel()
		v := newVigil(t, "a")
		v.exec(`alter table rollcall.roll rename to elsewhere`)
		require.ErrorContains(t, v.start(often, time.Time{}).outcome(), "look for who restore r1 waits for")
	})
}

// A device that was moved before the roll call has come to it gets no signal, which no one would read: it is called
// first, and its workflow looks by itself. One whose report was noted is called first in any case.
func TestAMovedDeviceIsCalledFirst(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "called", "moved", "noted", "quiet")
	v.exec(`update rollcall.roll set batch = null, wave = null where name <> 'called'`)
	v.deletedLongAgo("moved")
	v.reported("noted", "7")
	v.reported("called", "7")
	v.start(seldom, time.Time{}).awaits("called reconnect 7")
	require.ErrorContains(t, v.end(), "another one goes on")
	wave, err := v.store.Claim(t.Context(), inventory.ClaimInput{RestoreID: "r1", Batch: 1, Limit: 2})
	require.NoError(t, err)
	require.Len(t, wave, 2)
	require.Equal(t, "moved", wave[0].Name)
	require.True(t, wave[0].Look)
	require.Empty(t, wave[0].Noted)
	require.Equal(t, "noted", wave[1].Name)
	require.Equal(t, "7", wave[1].Noted)
}
