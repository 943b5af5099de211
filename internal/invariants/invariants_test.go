package invariants_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/internal/invariants"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// waitLimit is how long a test waits for what must happen.
const waitLimit = 3 * time.Minute

// night is a restore of three devices that a worker runs: one waits, one is paused, one is back.
type night struct {
	t        *testing.T
	store    *inventory.Store
	temporal client.Client
	checker  invariants.Checker
	queue    string
}

func newNight(t *testing.T) *night {
	t.Helper()
	server, queue := devtest.Temporal(t), devtest.TaskQueue(t)
	store, err := inventory.Open(t.Context(), devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	n := &night{t: t, store: store, temporal: server.Client(t, host.DisableStickyQueue), queue: queue}
	n.checker = invariants.Checker{DB: store.DB(), Temporal: n.temporal, Settle: waitLimit}
	n.startWorker(server.Namespace, queue)
	var docs []string
	for _, name := range []string{"away", "paused", "back"} {
		docs = append(docs, fmt.Sprintf(`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":%q,`+
			`"annotations":{"device-controller/renderedVersion":"5"}},"spec":{},"status":{}}`, name))
	}
	_, err = store.Import(t.Context(), strings.NewReader(strings.Join(docs, "\n---\n")), inventory.ImportOptions{})
	require.NoError(t, err)
	_, err = n.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: runbook.RestoreWorkflowID("night"), TaskQueue: queue,
	}, runbook.RestoreWorkflowName, runbook.RestoreInput{RestoreID: "night", WatchInterval: "0"})
	require.NoError(t, err)
	for name, version := range map[string]string{"paused": "7", "back": "5"} {
		n.report(name, version)
	}
	n.await(`select count(*) = 1 from rollcall.roll where state = 'ConflictPaused'`)
	n.await(`select count(*) = 1 from rollcall.roll where state = 'Normal'`)
	return n
}

func (n *night) startWorker(namespace, queue string) {
	n.t.Helper()
	h, err := host.New(n.t.Context(), host.Config{
		Client: n.temporal, Store: n.store, Namespace: namespace, TaskQueue: queue, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(n.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	n.t.Cleanup(func() { cancel(); require.NoError(n.t, <-done) })
}

func (n *night) report(name, version string) {
	n.t.Helper()
	require.EventuallyWithT(n.t, func(c *assert.CollectT) {
		require.NoError(c, n.temporal.SignalWorkflow(n.t.Context(), runbook.DeviceWorkflowID(runbook.DefaultOrgID, name), "",
			runbook.SignalReconnect, runbook.ReconnectSignal{RenderedVersion: version}))
	}, waitLimit, 50*time.Millisecond)
}

func (n *night) await(condition string) {
	n.t.Helper()
	require.EventuallyWithT(n.t, func(c *assert.CollectT) {
		var holds bool
		require.NoError(c, n.store.DB().GetContext(n.t.Context(), &holds, condition))
		require.True(c, holds, condition)
	}, waitLimit, 50*time.Millisecond)
}

// csr is a signing request of a key of its own.
func csr(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func (n *night) exec(statement string, args ...any) {
	n.t.Helper()
	_, err := n.store.DB().ExecContext(n.t.Context(), statement, args...)
	require.NoError(n.t, err)
}

func TestAHealthyNightHasNoViolation(t *testing.T) {
	t.Parallel()
	found, err := newNight(t).checker.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, found)
}

// deadWorker is a Temporal whose first question goes to a worker that has died.
type deadWorker struct {
	client.Client
	asked atomic.Int32
}

func (c *deadWorker) QueryWorkflow(
	ctx context.Context, id, runID, query string, args ...any,
) (converter.EncodedValue, error) {
	if c.asked.Add(1) == 1 {
		return nil, context.DeadlineExceeded
	}
	return c.Client.QueryWorkflow(ctx, id, runID, query, args...)
}

func TestAQuestionToADeadWorkerIsAskedOnceMore(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.checker.Temporal = &deadWorker{Client: n.temporal}
	found, err := n.checker.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, found)
}

// Each planted fault is found under its name, with the device that it concerns.
func TestPlantedFaultsInTheDatabaseAreFound(t *testing.T) {
	t.Parallel()
	const record = `insert into rollcall.transitions
		(restore_id, org_id, name, transition, from_state, to_state, restored_version, reported_version, next_version, actor)
		values ('night', '00000000-0000-0000-0000-000000000000', `
	const plan = `insert into rollcall.plans (id, org_id, restore_id, planned_by, expires_at)
			values ('p1', '00000000-0000-0000-0000-000000000000', 'night', 'ann', now());
		insert into rollcall.plan_devices (plan_id, org_id, name, seq, reported_version, answer)
			values ('p1', '00000000-0000-0000-0000-000000000000', 'paused', 1, '7', 'Resumed');`
	for name, fault := range map[string]struct {
		statement, invariant, device, message string
	}{
		"a resume that counts twice": {
			record + `'paused', 'T4', 'ConflictPaused', 'Normal', '5', '7', '8', 'ann'),
			('night', '00000000-0000-0000-0000-000000000000', 'paused', 'T4', 'ConflictPaused', 'Normal', '5', '7', '8', 'bob')`,
			invariants.OneDecision, "paused", "T4 leads from Normal",
		},
		"a resume without a person": {
			record + `'paused', 'T4', 'ConflictPaused', 'Normal', '5', '7', '8', 'service:rollcall')`,
			invariants.OneDecision, "paused", "without a person",
		},
		"an outcome that changes": {
			record + `'back', 'T3', 'AwaitingReconnect', 'ConflictPaused', '5', '7', '', 'service:rollcall')`,
			invariants.TableOfTransitions, "back", "T3 leads from Normal",
		},
		"a release by a version that cannot be read": {
			record + `'away', 'T2', 'AwaitingReconnect', 'Normal', '5', '-1', '', 'service:rollcall')`,
			invariants.TableOfTransitions, "away", "cannot be read",
		},
		"a person who counts as authenticated without a decision": {
			`insert into rollcall.transitions (restore_id, org_id, name, transition, signal, actor, identity, decision_id)
			values ('night', '00000000-0000-0000-0000-000000000000', 'paused', 'Refused', 'resume', 'mallory', 'authenticated',
			'd1')`,
			invariants.AuthenticatedByDecision, "paused", "no decision of theirs",
		},
		"a row of the roll that nothing moved": {
			`update rollcall.roll set state = 'Normal' where name = 'paused'`,
			invariants.RollFollowsAudit, "paused", "the roll says Normal, and the audit says ConflictPaused",
		},
		"a second restore": {
			`insert into rollcall.restores (id, state) values ('other', 'Running')`,
			invariants.OneCurrentRestore, "", "both run",
		},
		"a lost row": {
			`delete from rollcall.roll where name = 'away'`,
			invariants.CountsAddUp, "", "put 3 devices on its roll, and the roll holds 2",
		},
		"an end with a device that waits": {
			`update rollcall.restores set state = 'Completed'`,
			invariants.CountsAddUp, "", "2 devices on its roll wait",
		},
		"a device that the waves have passed over": {
			`with passed as (update rollcall.restores set claim_from = 99)
				update rollcall.roll set batch = null, wave = null where name = 'away'`,
			invariants.NoneLeftOut, "away", "no batch has claimed it",
		},
		"a device that was forgotten": {
			`set session_replication_role = replica; -- the audit can only be appended to
				delete from rollcall.transitions where name = 'away';
				delete from rollcall.roll where name = 'away';
				update rollcall.restores set total = 2;
				set session_replication_role = origin`,
			invariants.AllOnRoll, "away", "is not on its roll",
		},
		"an annotation that is gone": {
			`update devices set annotations = annotations - 'device-controller/awaitingReconnect' where name = 'away'`,
			invariants.DeviceFollowsRoll, "away", "annotations say Normal",
		},
		"a rendering while it waited, which let it go": {
			record + `'away', 'T2', 'AwaitingReconnect', 'Normal', '6', '6', '', 'agent')`,
			invariants.NothingRendered, "away", `the device was AwaitingReconnect, and its rendered version went from "5" to "6"`,
		},
		"a rendering while it is paused": {
			`update devices set annotations = annotations || '{"device-controller/renderedVersion": "6"}' where name = 'paused'`,
			invariants.NothingRendered, "paused", `from "5" to "6"`,
		},
		"a device that another organisation's restore has put on its roll": {
			`update rollcall.restores set org_id = gen_random_uuid()`,
			invariants.OwnMessages, "away", "T1 happened to the device, and the restore is of another organisation",
		},
		"a decision about another device": {
			`insert into rollcall.decisions (id, org_id, act, actor, identity)
				values ('d1', '00000000-0000-0000-0000-000000000000', 'resume', 'ann', 'asserted');
			insert into rollcall.decision_targets (decision_id, name) values ('d1', 'back');
			insert into rollcall.transitions (restore_id, org_id, name, transition, to_state, signal, actor, decision_id)
				values ('night', '00000000-0000-0000-0000-000000000000', 'paused', 'T4', 'Normal', 'resume', 'ann', 'd1')`,
			invariants.OwnMessages, "paused", "the decision that moved it does not name it",
		},
		"a plan that resumes a device of another": {
			plan + `insert into rollcall.transitions (restore_id, org_id, name, transition, to_state, signal, actor, decision_id)
				values ('night', '00000000-0000-0000-0000-000000000000', 'away', 'T4', 'Normal', 'resume', 'ann', 'plan/p1')`,
			invariants.OwnMessages, "away", "the plan that resumed it does not hold it",
		},
		"a resume that a plan counts and no one decided": {
			plan, invariants.TakesEffect, "paused", "plan p1 counts the device as resumed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t)
			n.exec(fault.statement)
			found, err := invariants.Database(t.Context(), n.store.DB())
			require.NoError(t, err)
			require.Condition(t, func() bool {
				for _, v := range found {
					if v.Invariant == fault.invariant && v.Name == fault.device && strings.Contains(v.Message, fault.message) {
						return true
					}
				}
				return false
			}, "%+v", found)
		})
	}
}

// What Rollcall does beside Flight Control on the way is no fault.
func TestWhatIsUnderWayBesideFlightControl(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	for name, statement := range map[string]string{
		"Flight Control is asked for an approval": `insert into rollcall.transitions
			(restore_id, org_id, name, transition, signal, actor)
			values ('', $1, 'late', 'Decided', 'approve', 'ann'), ('night', $1, 'later', 'Decided', 'approve', 'ann')`,
		"a released device is resumed to be rendered": `with beside as (update rollcall.restores set mode = 'flightctl'),
			released as (update devices set annotations = annotations - 'device-controller/awaitingReconnect'
				where name = 'away')
			insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version,
				actor)
			values ('night', $1, 'away', 'Repaired', 'AwaitingReconnect', 'AwaitingReconnect', '5', 'service:rollcall')`,
	} {
		n.exec(statement, runbook.DefaultOrgID)
		found, err := invariants.Database(t.Context(), n.store.DB())
		require.NoError(t, err)
		require.Empty(t, found, name)
	}
	for _, statement := range []string{
		`alter table rollcall.transitions disable trigger user`,
		`update rollcall.transitions set at = now() - interval '1 hour' where transition = 'Repaired'`,
		`update rollcall.roll set sent_at = now() where name = 'away'`,
		`update devices set annotations = annotations || '{"device-controller/conflictPaused": "true"}' where name = 'away'`,
	} {
		n.exec(statement)
	}
	found, err := invariants.Database(t.Context(), n.store.DB())
	require.NoError(t, err)
	require.Empty(t, found, "Flight Control has not answered for an hour")
	n.exec(`update devices set annotations = annotations - 'device-controller/conflictPaused' where name = 'away'`)
	found, err = invariants.Database(t.Context(), n.store.DB())
	require.NoError(t, err)
	require.NotEmpty(t, found, "it was resumed long ago")
}

func TestAnEntryOfAnOlderRestoreIsFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.exec(`insert into rollcall.transitions (restore_id, org_id, name, transition, to_state, actor)
		values ('newer', $1, 'away', 'T1', 'AwaitingReconnect', 'service:rollcall')`, runbook.DefaultOrgID)
	n.exec(`insert into rollcall.transitions (restore_id, org_id, name, transition, from_state, to_state, restored_version,
		reported_version, actor)
		values ('night', $1, 'away', 'T2', 'AwaitingReconnect', 'Normal', '5', '5', 'service:rollcall')`,
		runbook.DefaultOrgID)
	found, err := invariants.Database(t.Context(), n.store.DB())
	require.NoError(t, err)
	require.NotEmpty(t, found)
	require.Equal(t, invariants.OneCurrentRestore, found[0].Invariant)
	require.Contains(t, found[0].Message, "after restore newer had put the device on its roll")
	require.NotZero(t, found[0].Entry)
}

// A database that was put back leaves the workflow ahead of it; a workflow that ended leaves its device alone.
func TestWorkflowsThatDisagreeWithTheDatabaseAreFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.exec(`update rollcall.roll set state = 'AwaitingReconnect' where name = 'paused'`)
	n.checker.Settle = -1
	// The search index follows the workflow after a moment.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		require.Len(c, found, 1, "%+v", found)
		require.Equal(c, invariants.WorkflowFollowsRoll, found[0].Invariant)
		require.Equal(c, "the roll says AwaitingReconnect, and the workflow says ConflictPaused", found[0].Message)
	}, waitLimit, 100*time.Millisecond)

	n.exec(`update rollcall.roll set state = 'ConflictPaused' where name = 'paused'`)
	n.exec(`update rollcall.roll set state = 'AwaitingReconnect' where name = 'back'`)
	n.exec(`update rollcall.roll set state = 'Normal' where name = 'away'`)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		byDevice := map[string]invariants.Violation{}
		for _, v := range found {
			require.Equal(c, invariants.WorkflowRuns, v.Invariant)
			byDevice[v.Name] = v
		}
		require.Len(c, byDevice, 2)
		require.True(c, byDevice["back"].Missing, "nothing waits for it")
		require.False(c, byDevice["away"].Missing)
		require.Equal(c, "a workflow waits for the device, and no running restore does", byDevice["away"].Message)
	}, waitLimit, 100*time.Millisecond)
}

// A workflow that waits for a decision about a request that was decided is found, and follows as the message says.
func TestAnEnrollmentThatWaitsForADecidedRequestIsFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.exec(`insert into enrollment_requests (org_id, name, spec, status, resource_version, created_at, updated_at)
		values ($1, 'late', '{}', '{}', 1, now(), now())`, runbook.DefaultOrgID)
	_, err := n.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, "late"), TaskQueue: n.queue,
	}, runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{OrgID: runbook.DefaultOrgID, Name: "late"})
	require.NoError(t, err)
	n.checker.Settle = -1
	found, err := n.checker.Workflows(t.Context())
	require.NoError(t, err)
	require.Empty(t, found, "it is pending")
	n.exec(`delete from enrollment_requests where name = 'late'`)
	const id = "enrollment/default/late"
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		require.Len(c, found, 1, "%+v", found)
		require.Equal(c, []string{invariants.WorkflowFollowsRequest, "late", id},
			[]string{found[0].Invariant, found[0].Name, found[0].WorkflowID})
		require.Contains(c, found[0].Message, "--name look --workflow-id "+id)
	}, waitLimit, 100*time.Millisecond)
	require.NoError(t, n.temporal.SignalWorkflow(t.Context(), id, "", runbook.SignalLook, runbook.LookSignal{}))
	var result runbook.EnrollmentResult
	require.NoError(t, n.temporal.GetWorkflow(t.Context(), id, "").Get(t.Context(), &result))
	require.Equal(t, runbook.EnrollmentGone, result.Decision.State)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		require.Empty(c, found)
	}, waitLimit, 100*time.Millisecond)
}

// A workflow that holds a decision which the database, put back to an earlier moment, does not know is found.
func TestAnEnrollmentThatIsAheadOfTheDatabaseIsFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.exec(`insert into enrollment_requests (org_id, name, spec, status, resource_version, created_at, updated_at)
		values ($1, 'late', jsonb_build_object('knownRenderedVersion', '7', 'csr', cast($2 as text)), '{}', 1, now(), now())`,
		runbook.DefaultOrgID, csr(t, "late"))
	const id = "enrollment/default/late"
	_, err := n.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: n.queue},
		runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{OrgID: runbook.DefaultOrgID, Name: "late"})
	require.NoError(t, err)
	require.NoError(t, n.temporal.SignalWorkflow(t.Context(), id, "", runbook.SignalApprove,
		runbook.ApproveRequest{By: "alice"}))
	n.await(`select count(*) = 1 from rollcall.roll where name = 'late'`)
	n.checker.Settle = -1
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		require.Empty(c, found)
	}, waitLimit, 100*time.Millisecond)
	n.exec(`update enrollment_requests set status = '{}' where name = 'late'`)
	found, err := n.checker.Workflows(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1, "%+v", found)
	require.Equal(t, []string{invariants.WorkflowFollowsRequest, "late", id},
		[]string{found[0].Invariant, found[0].Name, found[0].WorkflowID})
	require.Contains(t, found[0].Message, "is pending, and its workflow says Approved")
}

// A plan that was started, and whose workflow was terminated or lost with Temporal's database, is found.
func TestAPlanThatNoWorkflowCarriesOutIsFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.exec(`insert into rollcall.plans (id, org_id, restore_id, state, planned_by, expires_at)
		select 'p-' || s, $1, 'night', s, 'ann', now() from unnest(cast('{Planned,Running,Held,Completed}' as text[])) s`,
		runbook.DefaultOrgID)
	n.checker.Settle = -1
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		require.Len(c, found, 2, "%+v", found)
		for i, id := range []string{"p-Held", "p-Running"} {
			require.Equal(c, invariants.WorkflowRuns, found[i].Invariant)
			require.Equal(c, "resume/"+id, found[i].WorkflowID)
			require.Contains(c, found[i].Message, "`starter resume --plan "+id+"` goes on with it")
			require.False(c, found[i].Missing)
		}
	}, waitLimit, 100*time.Millisecond)
}

// A report that a gateway has acknowledged, and that nothing tells the device's workflow, is found.
func TestAReportThatNothingActsOnIsFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.exec(`update rollcall.roll set noted_version = 'none' where name = 'away'`)
	n.checker.Settle = -1
	found, err := n.checker.Check(t.Context())
	require.NoError(t, err)
	require.Empty(t, found, "one that cannot be read keeps its device waiting")
	n.exec(`update rollcall.roll set noted_version = '5' where name = 'away'`)
	found, err = n.checker.Check(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1, "%+v", found)
	require.Equal(t, []string{invariants.TakesEffect, "away"}, []string{found[0].Invariant, found[0].Name})
	require.Contains(t, found[0].Message, "has reported version 5, and still waits")
}

// A secret is found in the audit, in a list of workflows and in the history of a restore. It is not printed.
func TestASecretIsFoundWhereverItStands(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	const secret, short = "hush-hush-hush", "night"
	n.checker.Secrets = []string{secret, short}
	found, err := n.checker.Secret(t.Context())
	require.NoError(t, err)
	require.Empty(t, found, "a short one may be any word")

	n.exec(`insert into rollcall.transitions (restore_id, org_id, name, transition, signal, actor, message)
		values ('night', $1, 'paused', 'Refused', 'resume', 'ann', 'refused with ' || $2)`, runbook.DefaultOrgID, secret)
	restore := runbook.RestoreWorkflowID("night")
	require.NoError(t, n.temporal.SignalWorkflow(t.Context(), restore, "", "unknown", secret))
	shown := runbook.EnrollmentWorkflowID(runbook.DefaultOrgID, "late")
	n.exec(`insert into enrollment_requests (org_id, name, spec, status, resource_version, created_at, updated_at)
		values ($1, 'late', '{}', '{}', 1, now(), now())`, runbook.DefaultOrgID)
	_, err = n.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: shown, TaskQueue: n.queue, Memo: map[string]any{"note": secret},
	}, runbook.EnrollmentWorkflowName, runbook.EnrollmentInput{OrgID: runbook.DefaultOrgID, Name: "late"})
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Secret(t.Context())
		require.NoError(c, err)
		require.Len(c, found, 3, "%+v", found)
		require.Contains(c, found[0].Message, "1 rows of table rollcall.transitions")
		require.Equal(c, []string{restore, shown}, []string{found[1].WorkflowID, found[2].WorkflowID})
		for _, v := range found {
			require.Equal(c, invariants.NoSecret, v.Invariant)
			require.NotContains(c, v.Message, secret)
		}
	}, waitLimit, 100*time.Millisecond)
}

// A secret with characters that JSON or a row escapes is found in each form.
func TestASecretIsFoundAsItIsEncoded(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	const secret = `a"b\c<d>&efg-hij`
	n.checker.Secrets = []string{secret}
	holds := func() bool {
		found, err := n.checker.Secret(t.Context())
		require.NoError(t, err)
		return len(found) > 0
	}
	for _, put := range []string{
		`update rollcall.roll set restored_version = $1 where name = 'away'`,
		`update rollcall.roll set restored_version = cast(to_json($1::text) as text) where name = 'away'`,
	} {
		n.exec(put, secret)
		require.True(t, holds(), put)
		n.exec(`update rollcall.roll set restored_version = '5' where name = 'away'`)
		require.False(t, holds())
	}
	require.NoError(t, n.temporal.SignalWorkflow(t.Context(), runbook.RestoreWorkflowID("night"), "", "unknown", secret))
	require.Eventually(t, holds, waitLimit, 100*time.Millisecond)
}

func TestAnOpenRestoreWithoutAWorkflowIsFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	require.NoError(t, n.temporal.TerminateWorkflow(t.Context(), runbook.RestoreWorkflowID("night"), "", "test"))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		require.NotEmpty(c, found)
		require.Equal(c, "restore/night", found[0].WorkflowID)
		require.Contains(c, found[0].Message, "starter restore --id night")
		require.True(c, found[0].Missing)
	}, waitLimit, 100*time.Millisecond)
}
