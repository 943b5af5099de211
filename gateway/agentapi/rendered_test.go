package agentapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/gateway/agentapi"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestANormalDeviceIsServedWhatIsNewer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	device := served(t, a.poll("5"))
	require.Equal(t, "flightctl.io/v1beta1", device.APIVersion)
	require.Equal(t, "Device", device.Kind)
	require.Equal(t, "web-1", device.Metadata.Name)
	require.Equal(t, "6", version(device), "another hand rendered 5, from no one knows what")
	require.JSONEq(t, `{"os":{"image":"registry.example.com/web-1:1"}}`, string(device.Spec))
	require.Equal(t, "6", version(served(t, a.poll("5"))), "it is rendered once")
	require.Equal(t, "6", version(served(t, a.poll(""))))
	require.Equal(t, http.StatusNoContent, a.poll("6").code)
	require.Equal(t, http.StatusNoContent, a.poll("9").code)

	b.store.DB().MustExec(`update devices set spec = '{"os": {"image": "another"}}'`)
	require.Equal(t, "7", version(served(t, a.poll("6"))))
	require.Empty(t, b.signals.versions())
}

// A restored database believes that a device runs 5, and it runs 7. Before a restore has called it, after the database
// was put back to before that, or where it took a newer version while it was called, nothing is rendered for it. A
// human's resume renders past what it knows.
func TestNothingIsRenderedForADeviceThatIsAheadOfTheBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.PollFor = time.Millisecond })
	b.give(map[string]string{"web-1": "5", "status": "5", "unreadable": "v5", "restored": "5"})
	b.store.DB().MustExec(`update devices set status = '{"config": {"renderedVersion": "7"}}' where name = 'status'`)
	for name, known := range map[string]string{"web-1": "7", "status": "5", "unreadable": "1"} {
		require.Equal(t, http.StatusNoContent, b.agent(name).poll(known).code, name)
	}
	require.Equal(t, "5", *b.text(`select annotations ->> 'device-controller/renderedVersion' from devices
		where name = 'web-1'`))
	require.Equal(t, "6", version(served(t, b.agent("restored").poll("5"))), "it is where the backup has it")

	b.roll("r1")
	a := b.agent("web-1")
	require.Equal(t, http.StatusNoContent, a.poll("7").code)
	b.reconnect("r1", "web-1", "7")
	b.resume("r1", "web-1")
	require.Equal(t, "8", version(served(t, a.poll("7"))))
	b.store.DB().MustExec(`update devices set spec = '{"os": {"image": "another"}}' where name = 'web-1'`)
	require.Equal(t, http.StatusNoContent, a.poll("10").code, "the decision was about 7, and this backup is of 8")
	require.Equal(t, "9", version(served(t, a.poll("8"))))

	b.reconnect("r1", "status", "5")
	require.Equal(t, http.StatusNoContent, b.agent("status").poll("9").code, "it had received 9 before it was called")
}

// Agents read the first provider of a configuration alone, and remove each file that is not in it.
func TestWhatCannotBeRenderedIsNotServed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.PollFor = time.Millisecond })
	b.give(map[string]string{"several": "5", "git": "5", "catalog": "5", "fleet": "5"})
	for name, spec := range map[string]string{
		"several": `{"config": [{"name": "a", "inline": [{"path": "/a", "content": "1"}]},
			{"name": "b", "inline": [{"path": "/b", "content": "2"}]}], "os": {"image": "os:1"}}`,
		"git":     `{"config": [{"name": "a", "gitRef": {"repository": "r"}}]}`,
		"catalog": `{"os": {"catalogItemRef": {"catalog": "c"}}}`,
	} {
		b.store.DB().MustExec(`update devices set spec = $2 where name = $1`, name, spec)
	}
	b.store.DB().MustExec(`insert into fleets (org_id, name, spec) values ($1, 'web', '{"template": {"spec": {"config":
		[{"name": "a", "inline": [{"path": "/a", "content": "{{ .metadata.name }}"}]}]}}}')`, runbook.DefaultOrgID)
	b.store.DB().MustExec(`update devices set owner = 'Fleet/web' where name = 'fleet'`)
	require.JSONEq(t, `{"config": [{"name": "a", "inline": [{"path": "/a", "content": "1"},
		{"path": "/b", "content": "2"}]}], "os": {"image": "os:1"}}`, string(served(t, b.agent("several").poll("5")).Spec))
	for _, name := range []string{"git", "catalog", "fleet"} {
		require.Equal(t, http.StatusNoContent, b.agent(name).poll("5").code, name)
		require.Equal(t, "5", *b.text(`select annotations ->> 'device-controller/renderedVersion' from devices
			where name = '` + name + `'`))
	}
}

func TestWithoutRenderingOnlyWhatIsRenderedIsServed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.Render = false })
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	require.Equal(t, "5", version(served(t, a.poll("4"))))
	require.Equal(t, http.StatusNoContent, a.poll("5").code)
}

// A device that no roll call waits for costs one read by index, and Temporal nothing.
func TestADeviceOnNoRollCostsOneRead(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.PollFor = time.Millisecond })
	b.serving.DB().SetMaxOpenConns(1) // one backend, which can be asked for its counts
	devices := map[string]string{}
	for i := range 1000 {
		devices[fmt.Sprintf("d-%04d", i)] = "5"
	}
	b.give(devices)
	a := b.agent("d-0500")
	served(t, a.poll("5"))
	b.store.DB().MustExec(`analyze`)
	before := b.reads()
	const polls = 20
	for range polls {
		require.Equal(t, http.StatusNoContent, a.poll("6").code)
	}
	after := b.reads()
	require.Equal(t, before.Indexed+polls, after.Indexed)
	require.Equal(t, before.Sequential, after.Sequential)
	require.Empty(t, b.signals.versions())
}

// tableReads is how often the devices were read, by index and as a whole.
type tableReads struct {
	Indexed    int `db:"idx_scan"`
	Sequential int `db:"seq_scan"`
}

func (b *bench) reads() (r tableReads) {
	b.t.Helper()
	b.serving.DB().MustExec(`select pg_stat_force_next_flush()`)
	require.NoError(b.t,
		b.store.DB().Get(&r, `select idx_scan, seq_scan from pg_stat_user_tables where relname = 'devices'`))
	return r
}

func TestAWaitingDeviceIsNeverServed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5", "web-2": "5", "web-3": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	require.Equal(t, http.StatusNoContent, a.poll("3").code)
	require.Equal(t, []string{"3"}, b.signals.versions(), "its poll is its report")

	b.reconnect("r1", "web-1", "7")
	require.Equal(t, http.StatusNoContent, a.poll("7").code)
	require.Equal(t, []string{"3"}, b.signals.versions(), "the conflict is about this version already")
	require.Equal(t, http.StatusNoContent, a.poll("8").code)
	require.Equal(t, http.StatusNoContent, a.poll("1").code, "paused whatever it reports")
	require.Equal(t, []string{"3", "8", "1"}, b.signals.versions())

	// Nor by annotation alone, where its restore was cancelled; and then no one is told.
	b.store.DB().MustExec(`update rollcall.restores set state = 'Cancelled'`)
	require.Equal(t, http.StatusNoContent, a.poll("2").code)
	require.Equal(t, http.StatusNoContent, b.agent("web-2").poll("1").code)
	// Nor where another hand took the annotation away while the roll call waits.
	b.store.DB().MustExec(`update rollcall.restores set state = 'Running'`)
	b.store.DB().MustExec(`update devices set annotations = annotations - 'device-controller/awaitingReconnect'
		where name = 'web-3'`)
	require.Equal(t, http.StatusNoContent, b.agent("web-3").poll("1").code)
	require.Equal(t, []string{"3", "8", "1", "1"}, b.signals.versions())
}

// The whole of it, with workflows: reports move devices, and polls that are held wake.
func TestARollCallAnsweredByPolls(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	c := b.work()
	b.give(map[string]string{"equal": "5", "ahead": "5", "odd": "5"})
	b.restore(c, "night")

	equal := b.agent("equal").polling("5")
	ahead := b.agent("ahead").polling("7")
	odd := b.agent("odd")
	requireStatus(t, odd.poll("007"), http.StatusBadRequest, "leading zero")
	requireStatus(t, odd.poll("007"), http.StatusBadRequest, "leading zero")

	require.Equal(t, "6", version(served(t, <-equal)), "T2 wakes the poll")
	b.until("ahead", runbook.StateConflictPaused)
	b.held(1)
	timeline := b.timeline(c, "odd")
	require.Len(t, timeline, 1)
	require.Equal(t, runbook.CodeInvalidVersion, timeline[0].Code)
	require.Equal(t, "007", timeline[0].Version)

	before := time.Now()
	handle, err := c.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: runbook.DeviceWorkflowID(runbook.DefaultOrgID, "ahead"), UpdateName: runbook.UpdateResume,
		Args:         []any{runbook.ResumeRequest{By: "alice", ExpectVersion: "7"}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(t, err)
	var decision runbook.ResumeDecision
	require.NoError(t, handle.Get(t.Context(), &decision))
	require.Equal(t, "8", decision.Next)
	require.Equal(t, "8", version(served(t, <-ahead)), "T4 wakes the poll")
	require.Less(t, time.Since(before), waitLimit)

	// An agent that runs what it was served, and says so.
	status := b.agent("ahead").put(`{"summary":{"status":"Degraded"},"config":{"renderedVersion":"8"}}`)
	require.Contains(t, string(served(t, status).Status), `"UpToDate"`)
	require.Contains(t, string(served(t, status).Status), `"Degraded"`)

	require.Equal(t, "6", version(served(t, odd.poll("5"))), "then one that can be read")
	require.Eventually(t, func() bool {
		tally, err := b.store.RestoreStatus(t.Context(), "night")
		return err == nil && tally.State == runbook.RestoreCompleted
	}, waitLimit, 20*time.Millisecond)
}

// A poll that was open when the restore began says nothing of now: it ends, and the agent asks again.
func TestAPollFromBeforeARestoreEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	served(t, a.poll("5"))
	before := a.polling("6")
	b.held(1)
	b.roll("r1")
	require.Equal(t, http.StatusNoContent, (<-before).code)
	require.Empty(t, b.signals.versions())
	again := a.polling("6")
	require.Eventually(t, func() bool { return len(b.signals.versions()) == 1 }, waitLimit, 10*time.Millisecond)
	b.roll("r2")
	require.Equal(t, http.StatusNoContent, (<-again).code, "and so does one from before the next")
}

// The looks of all polls must not bring a whole fleet as fast as its roll is made: a poll that no one calls is held to
// its end.
func TestAPollIsNotEndedByItsOwnLookAtARestore(t *testing.T) {
	t.Parallel()
	const pollFor = 2 * time.Second
	b := newBench(t, func(c *agentapi.Config) {
		c.PollFor, c.RecheckEvery, c.WatchEvery = pollFor, 10*time.Millisecond, time.Hour
	})
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	served(t, a.poll("5"))
	var lasted time.Duration
	var rolls []string
	// All polls are woken once when the gateway has begun to watch, which a busy machine may do late.
	for lasted < pollFor && len(rolls) < 2 {
		rolls = append(rolls, fmt.Sprint("r", len(rolls)+1))
		began := time.Now()
		held := a.polling("6")
		b.held(1)
		b.roll(rolls[len(rolls)-1])
		require.Equal(t, http.StatusNoContent, (<-held).code)
		lasted = time.Since(began)
		require.Len(t, b.signals.versions(), len(rolls)-1, "what it said before is no answer")
	}
	require.GreaterOrEqual(t, lasted, pollFor)
	require.Equal(t, http.StatusNoContent, a.poll("6").code)
	require.Len(t, b.signals.versions(), len(rolls))
}

func TestAHeldPollWakesAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	b.give(map[string]string{"web-1": "5", "web-2": "5"})
	b.roll("r1")
	first, second := b.agent("web-1").polling("7"), b.agent("web-2").polling("5")
	b.held(2)
	b.reconnect("r1", "web-2", "5")
	require.Equal(t, "6", version(served(t, <-second)))
	b.reconnect("r1", "web-1", "7")
	b.held(1)
	b.resume("r1", "web-1")
	require.Equal(t, "8", version(served(t, <-first)))
}

func TestAHeldPollLooksByItselfToo(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.RecheckEvery = 50 * time.Millisecond })
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	served(t, a.poll("5"))
	held := a.polling("6")
	b.held(1)
	b.store.DB().MustExec(`update devices set spec = '{"os": {"image": "another"}}'`)
	require.Equal(t, "7", version(served(t, <-held)))
	held = a.polling("7")
	b.held(1)
	b.store.DB().MustExec(`update devices set deleted_at = now()`)
	requireStatus(t, <-held, http.StatusNotFound, "web-1")
}

// A database that cannot answer for a while is not asked again by the agents of all held polls.
func TestAHeldPollOutlivesADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	var failed atomic.Int64
	b := newBench(t, patient, func(c *agentapi.Config) {
		c.RecheckEvery = 10 * time.Millisecond
		c.Logger = slog.New(noting{slog.DiscardHandler, "Held poll cannot look", &failed})
	})
	b.give(map[string]string{"web-1": "5"})
	a := b.agent("web-1")
	served(t, a.poll("5"))
	held := a.polling("6")
	b.held(1)
	b.store.DB().MustExec(`alter table devices rename to elsewhere`)
	before := failed.Load()
	require.Eventually(t, func() bool { return failed.Load() > before+2 || len(held) > 0 }, waitLimit, time.Millisecond)
	require.Empty(t, held, "it is still held")
	b.store.DB().MustExec(`alter table elsewhere rename to devices`)
	b.store.DB().MustExec(`update devices set spec = '{"os": {"image": "another"}}'`)
	require.Equal(t, "7", version(served(t, <-held)))
}

// noting counts the records of one message, and passes none on.
type noting struct {
	slog.Handler
	message string
	count   *atomic.Int64
}

func (n noting) Enabled(context.Context, slog.Level) bool { return true }

func (n noting) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, n.message) {
		n.count.Add(1)
	}
	return nil
}

func TestVersions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	for query, says := range map[string]string{
		"abc": "digits", "%207": "digits", "%2B7": "digits", "-1": "digits", "007": "leading zero",
		"9223372036854775808":          "highest",
		"%D9%A7":                       "digits",
		"7%00":                         "digits",
		"8%FF":                         "digits",
		strings.Repeat("9", 40):        "highest",
		strings.Repeat("9", 4000):      "highest",
		"7&knownRenderedVersion=8":     "more than once",
		"7;knownRenderedVersion=8":     "query",
		"%zz":                          "query",
		strings.Repeat("%D9%A7", 1000): "digits",
	} {
		b.credit()
		before := len(b.signals.versions())
		requireStatus(t, a.poll(query), http.StatusBadRequest, says)
		now := b.signals.versions()
		if says == "query" || says == "more than once" {
			require.Len(t, now, before, "nothing was reported")
			continue
		}
		require.Len(t, now, before+1, "the refusal is to be on the timeline: %s", query)
		sent := now[before]
		require.LessOrEqual(t, len(sent), 64)
		_, err := runbook.ParseVersion(sent)
		require.Error(t, err, "%q would be taken for a version", sent)
		require.NotContains(t, sent, "\x00")
	}
	for _, good := range []string{"", "0", "7", "9223372036854775807"} {
		require.Equal(t, http.StatusNoContent, a.poll(good).code)
		versions := b.signals.versions()
		require.Equal(t, good, versions[len(versions)-1])
	}
	require.Equal(t, http.StatusNoContent, a.do(http.MethodGet, a.rendered(""), "").code, "none at all is version 0")
}

// Many reports at once, the same and others, in any order: each agent is answered, and each device ends where its
// version puts it.
func TestManyReportsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	c := b.work()
	const n = 100
	devices := map[string]string{"loud": "5"}
	for i := range n {
		devices[fmt.Sprintf("d-%03d", i)] = "5"
	}
	b.give(devices)
	b.restore(c, "night")
	var polls []<-chan answer
	for i := range n {
		polls = append(polls, b.agent(fmt.Sprintf("d-%03d", i)).insisting(fmt.Sprint(3+i%3))) // 3, 4 or 5
	}
	loud := b.agent("loud")
	for _, version := range []string{"5", "007", "7", "5", "7"} {
		loud.polling(version)
	}
	for i, poll := range polls {
		require.Equal(t, "6", version(served(t, <-poll)), "d-%03d", i)
	}
	require.Eventually(t, func() bool {
		tally, err := b.store.RestoreStatus(t.Context(), "night")
		return err == nil && tally.AddsUp() && tally.Counts[runbook.StateAwaitingReconnect] == 0 &&
			tally.Counts[runbook.StateNormal] >= n
	}, waitLimit, 20*time.Millisecond)
}

// restore starts a roll call and waits until its workflows wait for the devices.
func (b *bench) restore(c client.Client, id string) {
	b.t.Helper()
	_, err := c.ExecuteWorkflow(b.t.Context(),
		client.StartWorkflowOptions{ID: runbook.RestoreWorkflowID(id), TaskQueue: b.queue},
		runbook.RestoreWorkflowName, runbook.RestoreInput{RestoreID: id})
	require.NoError(b.t, err)
	devices, err := b.store.Position(b.t.Context(), inventory.Query{})
	require.NoError(b.t, err)
	for _, d := range devices {
		require.Eventually(b.t, func() bool {
			_, err := c.DescribeWorkflowExecution(b.t.Context(), runbook.DeviceWorkflowID(d.OrgID, d.Name), "")
			return err == nil
		}, waitLimit, 10*time.Millisecond)
	}
}

func (b *bench) timeline(c client.Client, name string) (entries []runbook.TimelineEntry) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		answer, err := c.QueryWorkflow(b.t.Context(), runbook.DeviceWorkflowID(runbook.DefaultOrgID, name), "",
			runbook.QueryState)
		var status runbook.DeviceStatus
		if err != nil || answer.Get(&status) != nil {
			return false
		}
		entries = status.Timeline
		return len(entries) > 0
	}, waitLimit, 50*time.Millisecond)
	return entries
}
