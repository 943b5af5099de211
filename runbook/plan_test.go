package runbook_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/runbook"
)

func TestPlanBatches(t *testing.T) {
	t.Parallel()
	slices, err := runbook.PlanBatches(1200, 0)
	require.NoError(t, err)
	require.Equal(t, []runbook.Slice{{From: 0, To: 500}, {From: 500, To: 1000}, {From: 1000, To: 1200}}, slices)

	slices, err = runbook.PlanBatches(0, 10)
	require.NoError(t, err)
	require.Empty(t, slices)

	_, err = runbook.PlanBatches(runbook.MaxBatches*runbook.MaxBatchSize+1, 0)
	require.ErrorContains(t, err, "one organisation at a time")
}

func TestHowManyBatchesCallAtATime(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]int{-1: 2, 0: 2, 1: 1, 3: 3, 32: 32, 33: 32} {
		require.Equal(t, want, runbook.BatchesAtOnce(asked), asked)
	}
}

func TestBatchesHoldEveryDeviceOnceAndKeepTheirLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64Range(0, runbook.MaxBatches*runbook.MaxBatchSize).Draw(t, "total")
		size := rapid.IntRange(-1, 3000).Draw(t, "size")
		slices, err := runbook.PlanBatches(total, size)
		require.NoError(t, err)
		require.LessOrEqual(t, len(slices), runbook.MaxBatches)
		next := int64(0)
		for _, s := range slices {
			require.Equal(t, next, s.From)
			require.Greater(t, s.To, s.From)
			require.LessOrEqual(t, s.To-s.From, int64(runbook.MaxBatchSize))
			next = s.To
		}
		require.Equal(t, total, next)
	})
}

func TestWorkflowIDs(t *testing.T) {
	t.Parallel()
	require.Equal(t, "restore/r1", runbook.RestoreWorkflowID("r1"))
	require.Equal(t, "restore/r1/batch/3", runbook.BatchWorkflowID("r1", 3))
	require.Equal(t, "device/default/web-7", runbook.DeviceWorkflowID(runbook.DefaultOrgID, "web-7"))
	const other = "11111111-1111-1111-1111-111111111111"
	require.Equal(t, "device/"+other+"/web-7", runbook.DeviceWorkflowID(other, "web-7"))
	for _, orgID := range []string{runbook.DefaultOrgID, other} {
		gotOrg, name, ok := runbook.ParseDeviceWorkflowID(runbook.DeviceWorkflowID(orgID, "web-7"))
		require.True(t, ok)
		require.Equal(t, orgID, gotOrg)
		require.Equal(t, "web-7", name)
	}
	for _, id := range []string{"", "restore/r1", "device/default", "device//web-7", "device/default/"} {
		_, _, ok := runbook.ParseDeviceWorkflowID(id)
		require.False(t, ok, id)
	}
}

func TestCheckRestoreID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"r", "r1", "restore-20261122-200000", "a.b_c", strings.Repeat("a", 63)} {
		require.NoError(t, runbook.CheckRestoreID(id), id)
	}
	for _, id := range []string{"", "-r", "r-", "a/b", "a b", "é", strings.Repeat("a", 64)} {
		require.Error(t, runbook.CheckRestoreID(id), id)
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	status := runbook.RestoreStatus{Total: 6, Counts: runbook.NewCounts()}
	require.Len(t, status.Counts, len(runbook.States))
	require.False(t, status.AddsUp())
	status.Counts[runbook.StateAwaitingReconnect] = 3
	status.Counts[runbook.StateConflictPaused] = 2
	status.Counts[runbook.StateNormal] = 1
	require.True(t, status.AddsUp())
	require.EqualValues(t, 5, status.Waiting())
}

func TestDecodeMessage(t *testing.T) {
	t.Parallel()
	var m runbook.ReconnectSignal
	require.NoError(t, runbook.DecodeMessage(runbook.SignalReconnect, []byte(`{"renderedVersion":"7"}`), &m))
	require.Equal(t, "7", m.RenderedVersion)
	require.NoError(t, runbook.DecodeMessage(runbook.SignalWithdraw, nil, &runbook.WithdrawSignal{}))
	for _, bad := range []string{
		"", "null", "[]", `{"version":"7"}`, `{"renderedVersion":"7"} {}`, `{"renderedVersion":7}`, `"7"`, `7`, `[`, "\x00",
	} {
		err := runbook.DecodeMessage(runbook.SignalReconnect, []byte(bad), &m)
		require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(err).Code, bad)
		require.ErrorContains(t, err, `{"renderedVersion":"7"}`, bad)
	}
	large := []byte(`{"renderedVersion":"` + strings.Repeat("7", runbook.MaxMessage) + `"}`)
	err := runbook.DecodeMessage(runbook.SignalReconnect, large, &m)
	require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(err).Code)
	require.ErrorContains(t, err, "no more than 65536 are read")
	require.Less(t, len(err.Error()), 1000, "it quotes nothing")
	quoted := runbook.Refuse(runbook.CodeInvalidRequest, "%s is not known", strings.Repeat("x", 1<<20))
	require.Less(t, len(quoted.Message), 4<<10, "what a refusal quotes is cut")
}

func TestResumeRequestIsReadStrictly(t *testing.T) {
	t.Parallel()
	var r runbook.ResumeRequest
	require.NoError(t, json.Unmarshal([]byte(`{"by":"alice","expectVersion":"7"}`), &r))
	require.Equal(t, runbook.ResumeRequest{By: "alice", ExpectVersion: "7"}, r)
	for _, bad := range []string{
		`{"by":"alice","exepctVersion":"7"}`, `null`, `"alice"`, `{"by":"alice","expectVersion":7}`,
	} {
		require.Error(t, json.Unmarshal([]byte(bad), &r), bad)
	}
}

func TestStorable(t *testing.T) {
	t.Parallel()
	require.Equal(t, "7\uFFFD", runbook.Storable("7\x00"))
	require.Equal(t, "a\uFFFDb", runbook.Storable("a\xffb"))
	require.Len(t, []rune(runbook.Storable(strings.Repeat("é", 500))), 201)
	for _, text := range []string{"a\x00b", "a\xffb", strings.Repeat("x", runbook.MaxText+1)} {
		require.Equal(t, runbook.CodeInvalidRequest, runbook.AsRefusal(runbook.ResumeRequest{By: text}.Check()).Code)
		require.Error(t, runbook.WithdrawSignal{Reason: text}.Check())
		require.Error(t, runbook.CancelSignal{Reason: text}.Check())
	}
}
