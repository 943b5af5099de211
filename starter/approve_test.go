package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// enrollingBench is a world with a worker in which the restore "first" runs over one device and the pending requests er-1
// to er-3, of which er-1 and er-2 are in Berlin, and one that was approved in the backup. er-late arrived after it.
func enrollingBench(t *testing.T) *bench {
	t.Helper()
	b := newTemporalBench(t)
	b.work()
	request := func(name, labels, more string) string {
		return "apiVersion: flightctl.io/v1beta1\nkind: EnrollmentRequest\nmetadata: {name: " + name + ", labels: {" + labels + "}}\n" + more
	}
	b.give(device{name: "web-1", version: "5"})
	b.giveYAML(
		request("er-1", "site: berlin", "spec: {csr: x}\n"), request("er-2", "site: berlin", "spec: {csr: x, knownRenderedVersion: \"7\"}\n"),
		request("er-3", "site: paris", "spec: {csr: x}\n"),
		request("er-old", "site: berlin", "spec: {csr: x}\nstatus: {approval: {approved: true, approvedBy: carol}}\n"),
	)
	b.restored("first")
	b.giveYAML(request("er-late", "site: rome", "spec: {csr: x}\n"), request("web-1", "site: rome", "spec: {csr: x}\n"))
	return b
}

func (b *bench) enroll(args ...string) (enrollReport, int) {
	b.t.Helper()
	o := b.run(append(args, "-o", "json", "--as", "alice")...)
	var report enrollReport
	o.json(b.t, &report)
	return report, o.code
}

func TestApproveEnrollmentRequests(t *testing.T) {
	t.Parallel()
	b := enrollingBench(t)

	plan, code := b.enroll("approve", "enrollmentrequests", "-l", "site=berlin", "--dry-run")
	require.Equal(t, 0, code)
	require.Equal(t, []plannedEnrollment{{"er-1", runbook.StateAwaitingReconnect}, {"er-2", runbook.StateAwaitingReconnect}}, plan.WouldApprove)
	require.Equal(t, 1, plan.Skipped)
	require.EqualValues(t, 1, b.tally("first").Total, "a dry run changes nothing")

	report, code := b.enroll("approve", "enrollmentrequest", "er-1", "--label", "site=hamburg", "--request-id", "d1", "--reason", "known")
	require.Equal(t, 0, code)
	require.Equal(t, []string{"er-1"}, *report.Approved)
	require.NotNil(t, report.Refused)
	report, code = b.enroll("approve", "enrollmentrequest", "er-1", "--request-id", "d1")
	require.Equal(t, 0, code, "the same decision has the same answer")
	require.Equal(t, []string{"er-1"}, *report.Approved)
	b.until("er-1", runbook.StateAwaitingReconnect)
	require.Contains(t, b.ok("get", "device", "er-1", "-o", "yaml"), "site: hamburg")
	require.Regexp(t, `(?m)^er-1 +Approved +alice +site=hamburg`, b.ok("get", "er"))

	report, code = b.enroll("approve", "er/er-1", "er/er-old", "er/web-1", "er/nosuch")
	require.Equal(t, 4, code)
	require.Empty(t, *report.Approved)
	codes := map[string]runbook.Code{}
	for _, r := range report.Refused {
		codes[r.Name] = r.Code
	}
	require.Equal(t, map[string]runbook.Code{
		"er-1": runbook.CodeAlreadyApproved, "er-old": runbook.CodeAlreadyApproved, "web-1": runbook.CodeDeviceExists, "nosuch": runbook.CodeNotFound,
	}, codes)

	report, code = b.enroll("approve", "enrollmentrequest", "er-late")
	require.Equal(t, 0, code, "one that arrived after the restore")
	require.EqualValues(t, 2, b.tally("first").Total, "it has never run anything, and is normal at once")

	report, code = b.enroll("approve", "enrollmentrequests", "-l", "site=nowhere")
	require.Equal(t, 3, code)
	require.Zero(t, report.Matched)
	report, code = b.enroll("deny", "enrollmentrequest", "er-3", "--reason", "not ours")
	require.Equal(t, 0, code)
	require.Equal(t, []string{"er-3"}, *report.Denied)
	require.Nil(t, report.Approved)
	require.Regexp(t, `(?m)^er-3 +Denied +alice`, b.ok("get", "er"))

	o := b.run("approve", "enrollmentrequests", "--all", "--as", "alice")
	require.Equal(t, 4, o.code, "that of web-1 is pending, but its device exists")
	require.Contains(t, o.stdout, "enrollmentrequest/er-2: approved; its device is AwaitingReconnect, on the roll of restore first")
	require.Contains(t, o.stdout, "enrollmentrequest/web-1: refused (DeviceExists)")
	require.EqualValues(t, 3, b.tally("first").Total)

	for name, version := range map[string]string{"web-1": "5", "er-1": "0", "er-2": "0"} {
		b.reported(name, version, runbook.StateNormal)
	}
	require.Eventually(t, func() bool { return b.tally("first").State == runbook.RestoreCompleted }, 20*time.Second, 50*time.Millisecond)
}
