package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/review"
)

// enrollingBeside is a world with a fake Flight Control and a worker beside it, in which the restore "first" runs over
// one device and the pending requests er-1, er-2 and er-3.
func enrollingBeside(t *testing.T) (*bench, *fake.FlightControl, *flightctl.Client) {
	t.Helper()
	b, dir := newTemporalBench(t), t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	control, err := fake.Start(fake.Config{DatabaseURL: b.url, CA: ca, AgentRequestsPerMinute: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, control.Close()) })
	client, err := flightctl.Open(control.Client())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	b.flightctl = client
	b.work()
	b.give(device{name: "web-1", version: "5"})
	b.giveYAML(yamlRequest(t, "er-1", ""), yamlRequest(t, "er-2", ""), yamlRequest(t, "er-3", ""))
	b.restored("first")
	b.until("web-1", runbook.StateAwaitingReconnect)
	return b, control, client
}

func TestDenyAndDeleteBesideFlightControl(t *testing.T) {
	t.Parallel()
	b, control, client := enrollingBeside(t)
	there := func(name string) bool {
		there, err := b.store.RequestExists(t.Context(), runbook.DefaultOrgID, name)
		require.NoError(t, err)
		return there
	}
	report, code := b.enroll("deny", "er/er-1", "--delete", "--reason", "not ours")
	require.Equal(t, 0, code, report)
	require.Equal(t, []string{"er-1"}, *report.Denied)
	require.False(t, there("er-1"), "Flight Control has deleted it")
	require.Regexp(t, `er-1 +Denied .*alice`, b.ok("get", "transitions"))

	report, code = b.enroll("deny", "er/er-3")
	require.Equal(t, 0, code, report)
	require.True(t, there("er-3"), "a denial alone is ours")

	// An approval that died after it had made the device: the request cannot be deleted, and both say what to do.
	control.Kill(fake.ApproveAfterDevice, 1)
	require.Error(t, client.Approve(t.Context(), runbook.DefaultOrgID, "er-2", nil, false))
	b.store.DB().MustExec(`update devices set created_at = now() - interval '1 hour' where name = 'er-2'`)
	b.store.DB().MustExec(`update enrollment_requests set created_at = now() - interval '2 hours'`)
	const remedy = "flightctl delete device/er-2"
	report, code = b.enroll("deny", "er/er-2", "--delete")
	require.Equal(t, 4, code)
	require.Equal(t, runbook.CodeDeviceExists, report.Refused[0].Code)
	require.Contains(t, report.Refused[0].Message, remedy)
	require.True(t, there("er-2"))
	require.Contains(t, b.ok("describe", "enrollmentrequest", "er-2"), "warning: Flight Control made the device er-2")
	require.Contains(t, b.ok("describe", "enrollmentrequest", "er-2"), remedy)
	var described review.Request
	b.run("describe", "er", "er-2", "-o", "json").json(t, &described)
	require.Equal(t, runbook.NoCertificate, described.Unfinished)
	require.Regexp(t, `(?m)^er-2 .* NoCertificate *$`, b.ok("get", "er", "-o", "wide"))
	require.Regexp(t, `(?m)^er-3 .* <none> *$`, b.ok("get", "er", "-o", "wide"))
	require.Contains(t, b.ok("get", "er", "er-2", "-o", "yaml"), "rollcall/unfinished: NoCertificate")
}

func TestDenyAndDeleteIsRefusedWhereNoFlightControlRuns(t *testing.T) {
	t.Parallel()
	b := enrollingBench(t)
	report, code := b.enroll("deny", "er/er-1", "--delete")
	require.Equal(t, 4, code)
	require.Equal(t, runbook.CodeWrongMode, report.Refused[0].Code)
	require.Contains(t, report.Refused[0].Message, "without --delete")
	found, err := b.store.Enrollments(t.Context(), inventory.Query{Names: []string{"er-1"}})
	require.NoError(t, err)
	require.Equal(t, runbook.EnrollmentPending, found[0].State)
	require.Contains(t, b.ok("get", "transitions", "--refused"), "WrongMode")
	report, code = b.enroll("deny", "er/er-1")
	require.Equal(t, 0, code, report)
}
