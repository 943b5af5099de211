package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"

	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/runbook"
)

// released is the commit whose programs start the roll call of TestARollCallOutlivesAnUpgrade.
const released = "dd6e618"

// The statements with which docs/changing-workflows.md has an older program accept the schema, and takes that back.
const (
	hideMigrations = `
		create table rollcall.goose_newer as select * from rollcall.goose_db_version where version_id > 3;
		delete from rollcall.goose_db_version where version_id > 3`
	showMigrations = `
		insert into rollcall.goose_db_version select * from rollcall.goose_newer;
		drop table rollcall.goose_newer`
)

// A roll call that the programs of an earlier release have started goes on under these, goes back to the earlier worker
// once, and ends under these. What waits, is paused or is pending meanwhile is neither lost nor let through.
func TestARollCallOutlivesAnUpgrade(t *testing.T) {
	t.Parallel()
	programs := buildReleased(t)
	s := &site{t: t, database: devtest.EmptyDatabase(t), server: devtest.Temporal(t), taskQueue: devtest.TaskQueue(t)}
	s.client = s.server.Client(t, host.DisableStickyQueue)
	old := &oldRelease{site: s, dir: programs}
	restored := map[string]string{"back": "5", "waits": "5", "paused": "5", "decided": "5", "marked": "5", "early": "5"}

	old.run("migrate")
	old.run("import", "-f", old.fleet(restored))
	old.startWorker()
	old.run("restore", "--id", "r1", "--watch-interval", "0s")
	for name := range restored {
		s.await(name, runbook.StateAwaitingReconnect)
	}
	s.eventually("the request has a workflow", func() bool { return s.runs(enrollmentID("asks")) })
	s.reports("back", "5")
	s.reports("paused", "7")
	s.await("paused", runbook.StateConflictPaused)
	s.eventually("back is back", func() bool { return !s.runs(deviceID("back")) })

	// Forward. The schema changes below the old worker, which works on until the new one takes its place.
	_, err := inventory.Migrate(t.Context(), s.database)
	require.NoError(t, err)
	require.NoError(t, inventory.CreateRoles(t.Context(), s.database))
	s.connect()
	t.Cleanup(func() { requireNoViolation(t, s.owner) })
	s.reports("decided", "7")
	s.await("decided", runbook.StateConflictPaused)
	old.stopWorker()
	s.startWorker()
	s.signal("marked", "reconect", runbook.ReconnectSignal{RenderedVersion: "5"})
	s.eventually("the new worker has refused the unknown signal", func() bool {
		status, err := s.status("marked")
		return err == nil && len(status.Timeline) == 1
	})
	require.Positive(t, s.count(deviceID("marked"), enumspb.EVENT_TYPE_MARKER_RECORDED),
		"its history has what the old worker does not know")

	// Back. The old worker refuses the schema, until the operator has said that it may work on it.
	s.stopWorker()
	require.Contains(t, old.fails("worker", "--task-queue", s.taskQueue), "use a newer program")
	s.owner.DB().MustExec(hideMigrations)
	old.startWorker()
	decision, err := s.resume("decided", "by-alice", runbook.ResumeRequest{By: "alice", ExpectVersion: "7"})
	require.NoError(t, err)
	require.True(t, decision.Accepted, decision.Message)
	s.signal("early", runbook.SignalResume, runbook.ResumeRequest{By: "mallory"})
	s.reports("marked", "7")
	s.eventually("the old worker fails at what it does not know", func() bool {
		return s.count(deviceID("marked"), enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED) > 0
	})
	s.eventually("the early resume is refused", func() bool {
		status, err := s.status("early")
		return err == nil && len(status.Timeline) == 1 && status.Timeline[0].Code == runbook.CodeNotPaused
	})

	// Forward for good.
	old.stopWorker()
	s.owner.DB().MustExec(showMigrations)
	s.startWorker()
	s.await("marked", runbook.StateConflictPaused)
	for name, id := range map[string]string{"paused": "by-bob", "marked": "by-carol"} {
		decision, err := s.resume(name, id, runbook.ResumeRequest{By: strings.TrimPrefix(id, "by-"), ExpectVersion: "7"})
		require.NoError(t, err)
		require.True(t, decision.Accepted, decision.Message)
	}
	require.True(t, s.approve("asks", "dora").Accepted)
	s.await("asks", runbook.StateAwaitingReconnect)
	for name, version := range map[string]string{"waits": "4", "early": "5", "asks": "0"} {
		s.reports(name, version)
	}
	status, err := s.result(s.client.GetWorkflow(t.Context(), runbook.RestoreWorkflowID("r1"), ""))
	require.NoError(t, err)
	require.Equal(t, runbook.RestoreCompleted, status.State)
	require.EqualValues(t, 7, status.Counts[runbook.StateNormal])
	require.Equal(t, status.Counts, s.tally("r1").Counts)
	for name, by := range map[string]string{"decided": "alice", "paused": "bob", "marked": "carol"} {
		rows, err := s.store.Transitions(t.Context(), runbook.DefaultOrgID, name, 0)
		require.NoError(t, err)
		var resumes []string
		for _, row := range rows {
			if row.Transition == runbook.T4 {
				resumes = append(resumes, row.Actor)
			}
		}
		require.Equal(t, []string{by}, resumes, name)
	}
}

// buildReleased builds worker and starter of the released commit, and returns the folder that holds them.
func buildReleased(t *testing.T) string {
	t.Helper()
	git := func(args ...string) *exec.Cmd {
		// The tree may belong to another user than ours, as in a container.
		return exec.CommandContext(t.Context(), "git", append([]string{"-c", "safe.directory=*"}, args...)...)
	}
	if out, err := git("rev-parse", "--verify", "--quiet", released+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("commit %s is not here, as in a shallow clone or an unpacked archive: clone with the whole history (%v%s)",
			released, err, out)
	}
	top, err := git("rev-parse", "--show-toplevel").Output()
	require.NoError(t, err)
	tree, programs := t.TempDir(), t.TempDir()
	archive := git("archive", released)
	archive.Dir = strings.TrimSpace(string(top)) // from a folder below it, archive takes that folder alone
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", tree)
	unpack.Stdin, err = archive.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, archive.Start())
	require.NoError(t, unpack.Run())
	require.NoError(t, archive.Wait())
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", programs,
		"./worker", "./starter")
	build.Dir = tree
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return programs
}

// oldRelease runs the programs of the released commit on a site.
type oldRelease struct {
	*site
	dir    string
	worker *exec.Cmd
	log    *said
}

// said is what a process has said so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (o *oldRelease) command(program string, args []string, out io.Writer) *exec.Cmd {
	cmd := exec.Command(filepath.Join(o.dir, program), args...)
	cmd.Dir = o.t.TempDir()
	cmd.Env = append(os.Environ(), "ROLLCALL_DATABASE_URL="+o.database, "ROLLCALL_TASK_QUEUE="+o.taskQueue,
		"TEMPORAL_ADDRESS="+o.server.Address, "TEMPORAL_NAMESPACE="+o.server.Namespace)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// run runs the starter to its end, which must be a good one.
func (o *oldRelease) run(args ...string) {
	o.t.Helper()
	var out said
	require.NoError(o.t, o.command("starter", args, &out).Run(), "starter %v: %s", args, &out)
}

// fails runs a program to its end, which must be an error, and returns what it said.
func (o *oldRelease) fails(program string, args ...string) string {
	o.t.Helper()
	var out said
	require.Error(o.t, o.command(program, args, &out).Run(), "%s %v: %s", program, args, &out)
	return out.String()
}

// fleet writes a file for the import: devices with their restored versions, and the request "asks".
func (o *oldRelease) fleet(restored map[string]string) string {
	o.t.Helper()
	docs := []map[string]any{{
		"apiVersion": "flightctl.io/v1beta1", "kind": "EnrollmentRequest", "metadata": map[string]any{"name": "asks"},
		"spec":   map[string]any{"csr": csr(o.t, "asks"), "knownRenderedVersion": "7"},
		"status": map[string]any{"conditions": []any{}},
	}}
	for name, version := range restored {
		docs = append(docs, map[string]any{
			"apiVersion": "flightctl.io/v1beta1", "kind": "Device",
			"metadata": map[string]any{
				"name": name, "annotations": map[string]string{runbook.AnnotationRenderedVersion: version},
			},
			"spec": map[string]any{}, "status": map[string]any{},
		})
	}
	var text []string
	for _, doc := range docs {
		one, err := json.Marshal(doc)
		require.NoError(o.t, err)
		text = append(text, string(one))
	}
	file := filepath.Join(o.t.TempDir(), "fleet.yaml")
	require.NoError(o.t, os.WriteFile(file, []byte(strings.Join(text, "\n---\n")), 0o600))
	return file
}

func (o *oldRelease) startWorker() {
	o.t.Helper()
	o.log = &said{}
	cmd := o.command("worker", []string{"--task-queue", o.taskQueue}, o.log)
	require.NoError(o.t, cmd.Start())
	o.worker = cmd
	o.t.Cleanup(func() {
		_ = cmd.Process.Kill() // has ended already where all went well
		_ = cmd.Wait()
	})
	o.eventually("the old worker works", func() bool { return strings.Contains(o.log.String(), "Started Worker") })
}

func (o *oldRelease) stopWorker() {
	o.t.Helper()
	require.NoError(o.t, o.worker.Process.Signal(syscall.SIGTERM))
	require.NoError(o.t, o.worker.Wait(), o.log)
}
