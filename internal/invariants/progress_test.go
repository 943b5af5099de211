package invariants_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"rollcall/internal/invariants"
	"rollcall/runbook"
)

// answers is a Temporal in which restores answer what the test says, and the workflows that silent names do not answer.
type answers struct {
	client.Client
	tally  *runbook.RestoreProgress
	silent func(workflowID string) bool
	asked  int
}

func (a *answers) QueryWorkflow(
	ctx context.Context, id, runID, query string, args ...any,
) (converter.EncodedValue, error) {
	switch {
	case a.silent != nil && a.silent(id):
		a.asked++
		return nil, serviceerror.NewDeadlineExceeded("no answer in time")
	case a.tally != nil && query == runbook.QueryTally:
		payloads, err := converter.GetDefaultDataConverter().ToPayloads(a.tally)
		return client.NewValue(payloads), err
	}
	return a.Client.QueryWorkflow(ctx, id, runID, query, args...)
}

// eventually checks until what is found satisfies the test: the search index follows after a moment.
func (n *night) eventually(holds func(c *assert.CollectT, found []invariants.Violation)) {
	n.t.Helper()
	n.checker.Settle = -1
	require.EventuallyWithT(n.t, func(c *assert.CollectT) {
		found, err := n.checker.Workflows(n.t.Context())
		require.NoError(c, err)
		holds(c, found)
	}, waitLimit, 100*time.Millisecond)
}

// A device is missing its workflow once its batch has called it, and while its restore goes on.
func TestADeviceThatIsYetToBeCalledMissesNoWorkflow(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.eventually(func(c *assert.CollectT, found []invariants.Violation) { require.Empty(c, found) })
	n.exec(`insert into rollcall.roll (restore_id, org_id, name, seq, state, fleet, restored_version, batch, wave,
		noted_version) values ('night', $1, 'later', 3, 'AwaitingReconnect', '', '5', 1, 0, '5')`, runbook.DefaultOrgID)
	called := int64(3)
	a := &answers{Client: n.temporal, tally: &runbook.RestoreProgress{
		Phase: runbook.PhaseWaiting, Called: &called, Total: 4, Claims: true, CalledBatches: []int{0},
	}}
	n.checker.Temporal = a
	found, err := n.checker.Workflows(t.Context())
	require.NoError(t, err)
	require.Empty(t, found, "its batch has not begun")

	a.tally.CalledBatches = []int{0, 1}
	found, err = n.checker.Workflows(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, []string{invariants.WorkflowRuns, "later"}, []string{found[0].Invariant, found[0].Name})
	require.True(t, found[0].Missing)
	require.Equal(t, invariants.TakesEffect, found[1].Invariant)

	a.tally.Stopping = true
	found, err = n.checker.Workflows(t.Context())
	require.NoError(t, err)
	require.Empty(t, found, "its restore is being cancelled")
}

// The workflows of a restore that was superseded have the time that it takes to end them.
func TestWorkflowsThatAreBeingEndedAreNoFault(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.exec(`update rollcall.restores set state = 'Superseded'`)
	n.eventually(func(c *assert.CollectT, found []invariants.Violation) {
		require.Len(c, found, 2, "no one has told it to: %+v", found)
	})
	n.checker.Temporal = &answers{Client: n.temporal, tally: &runbook.RestoreProgress{Stopping: true}}
	found, err := n.checker.Workflows(t.Context())
	require.NoError(t, err)
	require.Empty(t, found)
}

// A workflow that does not answer is a violation, and the others are checked all the same.
func TestAWorkflowThatDoesNotAnswerIsFound(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	const typo = "restore/typo"
	_, err := n.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: typo, TaskQueue: "rolcall"},
		runbook.RestoreWorkflowName, runbook.RestoreInput{RestoreID: "typo"})
	require.NoError(t, err)
	n.exec(`update rollcall.roll set state = 'ConflictPaused' where name = 'away'`)
	n.checker.Temporal = &answers{Client: n.temporal, silent: func(id string) bool { return id == typo }}
	n.eventually(func(c *assert.CollectT, found []invariants.Violation) {
		require.Len(c, found, 2, "%+v", found)
		require.Equal(c, []string{invariants.WorkflowFollowsRoll, "away"}, []string{found[0].Invariant, found[0].Name})
		require.Equal(c, []string{invariants.WorkflowAnswers, "typo", typo},
			[]string{found[1].Invariant, found[1].RestoreID, found[1].WorkflowID})
		require.Contains(c, found[1].Message, "is a worker running that polls its task queue, rolcall?")
	})
}

// Where no worker runs, not every workflow is waited for.
func TestWhereNoWorkerRunsFewAreAsked(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	n.eventually(func(c *assert.CollectT, found []invariants.Violation) { require.Empty(c, found) })
	for _, name := range []string{"e1", "e2", "e3", "e4", "e5"} {
		_, err := n.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: runbook.RestoreWorkflowID(name), TaskQueue: "no-one-polls-it",
		}, runbook.RestoreWorkflowName, runbook.RestoreInput{RestoreID: name})
		require.NoError(t, err)
	}
	a := &answers{Client: n.temporal, silent: func(id string) bool { return strings.HasPrefix(id, "restore/e") }}
	n.checker.Temporal = a
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		a.asked = 0
		found, err := n.checker.Workflows(t.Context())
		require.NoError(c, err)
		require.Len(c, found, 4, "%+v", found)
		require.Contains(c, found[3].Message, "2 questions to workflows of task queue no-one-polls-it were not asked")
		require.Equal(c, 4, a.asked, "the first of them twice")
	}, waitLimit, 100*time.Millisecond)
}
