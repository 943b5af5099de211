package activities_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/activities"
	"rollcall/runbook"
)

// fakeStore is the key-value store of a Flight Control.
type fakeStore struct {
	mu          sync.Mutex
	marks       map[string]bool
	woken       []string
	fails       error
	resumeFails error
	// resume is what a resume does; nil is to succeed, or to fail with resumeFails.
	resume func(ctx context.Context, names []string) error
}

func (f *fakeStore) MarkAwaiting(_ context.Context, _ string, names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.marks == nil {
		f.marks = map[string]bool{}
	}
	for _, name := range names {
		f.marks[name] = true
	}
	return f.fails
}

func (f *fakeStore) MissingAwaiting(_ context.Context, _ string, names []string) (missing []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		if !f.marks[name] {
			missing = append(missing, name)
		}
	}
	return missing, f.fails
}

func (f *fakeStore) Wake(_ context.Context, _ string, names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.woken = append(f.woken, names...)
	return f.fails
}

func (f *fakeStore) Resume(ctx context.Context, _ string, names []string, _ string) (int, error) {
	f.mu.Lock()
	resume, fails := f.resume, f.resumeFails
	f.mu.Unlock()
	if resume != nil {
		fails = resume(ctx, names)
	}
	return len(names), fails
}

func (f *fakeStore) Decommission(context.Context, string, string, string) error { return f.resumeFails }

func (f *fakeStore) DeleteEnrollmentRequest(context.Context, string, string) error {
	return f.resumeFails
}

func (f *fakeStore) User(context.Context, string) (string, error) { return "rollcall", f.resumeFails }

func (f *fakeStore) Approve(context.Context, string, string, map[string]string, bool) error {
	return f.resumeFails
}

func (f *fakeStore) marked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := []string{}
	for name := range f.marks {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (f *fakeStore) wakes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.woken)
}

func TestAWorkerOfTheOtherModeFails(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a")
	other := &activities.Activities{Inventory: v.store, Flightctl: &fakeStore{}}
	ref := activities.RestoreRef{RestoreID: "r1"}
	for name, do := range map[string]func() error{
		"OpenRestore": func() error {
			_, err := other.OpenRestore(t.Context(), activities.OpenRestoreInput{ID: "r1"})
			return err
		},
		"PutOnRoll": func() error {
			_, err := other.PutOnRoll(t.Context(), activities.RollInput{RestoreID: "r1"})
			return err
		},
		"FinishRoll": func() error { _, err := other.FinishRoll(t.Context(), ref); return err },
		"Reconnect": func() error {
			_, err := other.Reconnect(t.Context(),
				activities.ReconnectInput{RestoreID: "r1", OrgID: runbook.DefaultOrgID, Name: "a", Restored: "5", Reported: "5"})
			return err
		},
		"Resume": func() error {
			_, err := other.Resume(t.Context(), activities.ResumeInput{RestoreID: "r1", Name: "a"})
			return err
		},
		"Withdraw": func() error {
			_, err := other.Withdraw(t.Context(), activities.WithdrawInput{RestoreID: "r1", Name: "a"})
			return err
		},
		"Look": func() error {
			_, err := other.Look(t.Context(), activities.LookInput{RestoreID: "r1", Name: "a"})
			return err
		},
		"Watch": func() error { return other.WatchInventory(t.Context(), activities.WatchInput{RestoreID: "r1"}) },
		"Close": func() error {
			_, err := other.CloseRestore(t.Context(),
				activities.CloseRestoreInput{RestoreID: "r1", State: runbook.RestoreCancelled})
			return err
		},
	} {
		err := do()
		require.ErrorContains(t, err, "restore r1 has the mode standalone and this worker the mode flightctl", name)
		require.Nil(t, runbook.AsRefusal(err), "%s is tried again", name)
	}
	status, err := v.store.RestoreStatus(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreRunning, status.State)
	require.EqualValues(t, 1, status.Counts[runbook.StateAwaitingReconnect])
}

// besideFlightControl makes the vigil's restore one beside Flight Control.
func (v *vigil) besideFlightControl() *fakeStore {
	v.t.Helper()
	v.exec(`update rollcall.restores set mode = 'flightctl'`)
	v.flightctl = &fakeStore{}
	return v.flightctl
}

func TestTheRollIsMarkedBeforeTheRestoreGoesOn(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b", "c")
	store := v.besideFlightControl()
	v.exec(`update devices set annotations = '{}' where name = 'c'`)
	acts := &activities.Activities{Inventory: v.store, Flightctl: store}
	_, err := acts.FinishRoll(t.Context(), activities.RestoreRef{RestoreID: "r1"})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, store.marked(), "a mark without an annotation is no one's")
}

// A held poll does not notice a mark, and a store may lose it: the watch wakes all once, and puts back what is lost.
func TestTheWatchKeepsDevicesMarked(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b")
	store := v.besideFlightControl()
	v.start(seldom, time.Time{})
	require.Eventually(t, func() bool { return len(store.wakes()) == 2 }, waitLimit, 5*time.Millisecond)
	require.Equal(t, []string{"a", "b"}, store.marked())
	store.mu.Lock()
	delete(store.marks, "a")
	store.mu.Unlock()
	require.Eventually(t, func() bool { return len(store.wakes()) == 3 }, waitLimit, 5*time.Millisecond)
	require.Equal(t, "a", store.wakes()[2], "only the poll of the device that had lost its mark")
	require.Equal(t, []string{"a", "b"}, store.marked())
	require.Error(t, v.end())
}

// A row that cannot be written keeps no other device waiting.
func TestARepairThatFailsStopsNoOther(t *testing.T) {
	t.Parallel()
	v := newVigil(t, "a", "b")
	v.besideFlightControl()
	v.exec(`update rollcall.roll set state = 'ConflictPaused', reported_version = '7', resumed_by = 'alice',
		resumed_at = now(),
		decided_version = '7', rendered_before = '5', sent_at = now() - interval '2 minutes', sent_id = 'rollcall-resume-1'`)
	v.exec(`update devices set annotations = '{"device-controller/renderedVersion": "5"}',
		status = '{"config": {"renderedVersion": "7"}}'`)
	v.exec(`create function spoilt() returns trigger language plpgsql as $$ begin raise exception 'a cannot be written';
		end $$`)
	v.exec(`create trigger spoilt before update on devices for each row when (new.name = 'a') execute function spoilt()`)
	v.start(often, time.Time{})
	require.Eventually(t, func() bool {
		var repaired []string
		err := v.store.DB().SelectContext(t.Context(), &repaired,
			`select distinct name from rollcall.transitions where transition = 'Repaired'`)
		return err == nil && slices.Equal(repaired, []string{"b"})
	}, waitLimit, 5*time.Millisecond)
	require.Error(t, v.end())
}
