package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// asWorker makes the test binary a worker, which can be killed.
const asWorker = "ROLLCALL_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		if err := work(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	devtest.Main(m)
}

// work is a worker that finds its servers as the program does.
func work(ctx context.Context) error {
	url, err := host.DatabaseURL()
	if err != nil {
		return err
	}
	store, err := inventory.Open(ctx, url)
	if err != nil {
		return err
	}
	defer store.Close()
	c, err := host.Dial(ctx, host.DialOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	h, err := host.New(ctx, host.Config{
		Client: c, Store: store, Logger: slog.New(slog.DiscardHandler), SkipSearchAttributes: true,
	})
	if err != nil {
		return err
	}
	return h.Run(ctx)
}

// workerProcess starts a worker in a process of its own.
func (s *site) workerProcess() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asWorker+"=1", "ROLLCALL_TASK_QUEUE="+s.taskQueue,
		"ROLLCALL_DATABASE_URL="+devtest.As(s.t, s.database, roles.Worker),
		"TEMPORAL_ADDRESS="+s.server.Address, "TEMPORAL_NAMESPACE="+s.server.Namespace)
	cmd.Stderr = os.Stderr
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // killed already where all went well
		_ = cmd.Wait()
	})
	return cmd
}

// A worker that is killed while it opens a restore is missed by its heartbeat, and not only when the attempt's two
// minutes are over.
func TestAWorkerKilledWhileItOpensARestoreIsMissed(t *testing.T) {
	t.Parallel()
	s := newSite(t).fleet(map[string]string{"web-1": "5"})
	gate := s.owner.DB().MustBegin()
	t.Cleanup(func() { _ = gate.Rollback() })
	gate.MustExec(`lock table rollcall.restores in exclusive mode`)
	worker := s.workerProcess()
	s.restore(runbook.RestoreInput{RestoreID: "r1"})
	s.eventually("the worker is about to open the restore", func() bool {
		var waiting int
		err := s.owner.DB().GetContext(t.Context(), &waiting, `select count(*) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`)
		return err == nil && waiting > 0
	})
	require.NoError(t, worker.Process.Kill())
	require.NoError(t, gate.Rollback())
	s.startWorker()
	require.Eventually(t, func() bool {
		status, err := s.status("web-1")
		return err == nil && status.State == runbook.StateAwaitingReconnect
	}, 3*time.Minute, 100*time.Millisecond)
	var missed []enumspb.TimeoutType
	for _, event := range s.events(runbook.RestoreWorkflowID("r1"), "") {
		if started := event.GetActivityTaskStartedEventAttributes(); started != nil && started.GetAttempt() > 1 {
			missed = append(missed, started.GetLastFailure().GetTimeoutFailureInfo().GetTimeoutType())
		}
	}
	require.Equal(t, []enumspb.TimeoutType{enumspb.TIMEOUT_TYPE_HEARTBEAT}, missed)
}
