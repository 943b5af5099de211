package activities_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// lives reports whether the attempt goes on.
func (v *vigil) lives() {
	v.t.Helper()
	select {
	case err := <-v.ended:
		require.Fail(v.t, "the attempt has ended", "%v", err)
	default:
	}
}

// failing waits until the heartbeat says so; empty is that nothing fails.
func (v *vigil) failing(text string) {
	v.t.Helper()
	require.Eventually(v.t, func() bool {
		failing := v.heartbeat().Failing
		return text == "" && failing == "" || text != "" && strings.Contains(failing, text)
	}, waitLimit, 5*time.Millisecond, "the heartbeat says %q", v.heartbeat().Failing)
}

// decided has a human's resume of every device recorded, which Flight Control is yet to be asked for.
func (v *vigil) decided() {
	v.t.Helper()
	v.exec(`update rollcall.roll set state = 'ConflictPaused', reported_version = '7', resumed_by = 'alice',
		resumed_at = now(), decided_version = '7', rendered_before = '5'`)
	v.exec(`update devices set annotations = '{"device-controller/renderedVersion": "5",
		"device-controller/conflictPaused": "true"}', status = '{"config": {"renderedVersion": "7"}}'`)
}

func TestTheWatchGoesOnWhereTheStoreIsAway(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b", "c")
	store := v.besideFlightControl()
	store.fails = errors.New("key-value store at kv:6379: connection refused")
	v.deletedLongAgo("a")
	v.start(often, time.Time{})
	v.failing("keys of waiting devices: key-value store at kv:6379: connection refused")
	v.deletedLongAgo("b")
	require.Eventually(t, func() bool {
		sent := v.signals()
		return slices.Contains(sent, "a look") && slices.Contains(sent, "b look")
	}, waitLimit, 5*time.Millisecond, "devices are followed meanwhile")
	v.lives()
	store.mu.Lock()
	store.fails, store.marks = nil, nil
	store.mu.Unlock()
	v.failing("")
	require.Equal(t, []string{"c"}, store.marked(), "and the keys are written as soon as that is possible")
	v.lives()
	require.ErrorContains(t, v.end(), "another one goes on")
}

// Flight Control would resume the devices, and could not queue their rendering.
func TestAResumeWaitsUntilTheStoreAnswers(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a")
	store := v.besideFlightControl()
	calls := make(chan []string, 1000)
	store.resume = func(_ context.Context, names []string) error {
		calls <- names
		return nil
	}
	store.fails = errors.New("key-value store at kv:6379: connection refused")
	v.decided()
	v.start(often, time.Time{})
	v.failing("resumes of organisation " + runbook.DefaultOrgID + ": key-value store at kv:6379: connection refused")
	require.Empty(t, calls)
	store.mu.Lock()
	store.fails = nil
	store.mu.Unlock()
	require.Equal(t, []string{"a"}, <-calls)
	require.ErrorContains(t, v.end(), "another one goes on")
}

// anyCallFails is an answer of Flight Control that it would give to any call.
type anyCallFails struct{ error }

func (anyCallFails) FailsAlways() bool { return true }

// oneTooMany names one device more than Flight Control is asked for in one call.
func oneTooMany() []string {
	names := make([]string, 501)
	for i := range names {
		names[i] = fmt.Sprintf("d-%03d", i)
	}
	return names
}

func TestTheWatchGoesOnWhereAResumeIsRefused(t *testing.T) {
	t.Parallel()
	v := newVigil(t, oneTooMany()...)
	store := v.besideFlightControl()
	calls := make(chan []string, 1000)
	fails := error(anyCallFails{errors.New("not allowed (403)")})
	store.resume = func(_ context.Context, names []string) error {
		calls <- names
		return fails
	}
	v.decided()
	v.start(often, time.Time{})
	first := <-calls
	require.Len(t, first, 500)
	v.failing("resumes of organisation " + runbook.DefaultOrgID + ": not allowed (403)")
	require.ElementsMatch(t, first, <-calls, "the same are asked for again, before the time that an answer may take")
	var asked int
	require.NoError(t, v.store.DB().GetContext(t.Context(), &asked,
		`select count(*) from rollcall.roll where sent_at is not null`))
	require.Equal(t, 500, asked, "and it is not noted that the last one was asked for")
	v.exec(`update devices set deleted_at = now() where name = '` + v.unasked() + `'`)
	require.Eventually(t, func() bool { return slices.Contains(v.signals(), v.unasked()+" look") }, waitLimit,
		5*time.Millisecond, "devices are followed meanwhile")
	v.lives()
	store.mu.Lock()
	store.resume = nil
	store.mu.Unlock()
	v.failing("")
	require.ErrorContains(t, v.end(), "another one goes on")
}

// unasked is the device for which Flight Control was not asked.
func (v *vigil) unasked() (name string) {
	v.t.Helper()
	require.NoError(v.t, v.store.DB().GetContext(v.t.Context(), &name,
		`select name from rollcall.roll where sent_at is null`))
	return name
}

// A call that fails after it may have been done is left alone, and the others come next.
func TestACallOfUnknownOutcomeIsFollowedByTheOthers(t *testing.T) {
	t.Parallel()
	v := newVigil(t, oneTooMany()...)
	store := v.besideFlightControl()
	calls := make(chan []string, 1000)
	store.resume = func(_ context.Context, names []string) error {
		calls <- names
		return errors.New("outcome unknown")
	}
	v.decided()
	v.start(often, time.Time{})
	require.Len(t, <-calls, 500)
	require.Len(t, <-calls, 1)
	v.lives()
	require.ErrorContains(t, v.end(), "another one goes on")
}

// A call that is not answered keeps no device from being followed.
func TestTheWatchFollowsWhileAResumeIsUnderWay(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b")
	store := v.besideFlightControl()
	resuming := make(chan struct{})
	store.resume = func(ctx context.Context, _ []string) error {
		close(resuming)
		<-ctx.Done()
		return ctx.Err()
	}
	v.decided()
	v.exec(`update rollcall.roll set sent_at = now() where name = 'b'`)
	v.start(often, time.Time{})
	<-resuming
	v.exec(`update devices set annotations = '{"device-controller/renderedVersion": "8"}',
		status = '{"config": {"renderedVersion": "8"}}' where name = 'b'`)
	require.Eventually(t, func() bool { return slices.Contains(v.signals(), "b look") }, waitLimit, 5*time.Millisecond)
	v.lives()
	require.ErrorContains(t, v.end(), "another one goes on")
}
