package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
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
	require.Equal(t, []plannedEnrollment{{"er-1", runbook.StateAwaitingReconnect, runbook.KeyUnknown}, {"er-2", runbook.StateAwaitingReconnect, runbook.KeyUnknown}}, plan.WouldApprove)
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

// csr is a signing request of a key of its own.
func csr(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// posts is a request that an agent brings with a key of its own.
func (b *bench) posts(name string) {
	b.t.Helper()
	text := csr(b.t, name)
	spec, err := json.Marshal(map[string]string{"csr": text})
	require.NoError(b.t, err)
	_, err = b.store.Arrive(b.t.Context(), inventory.ArriveInput{
		OrgID: runbook.DefaultOrgID, Name: name, Labels: map[string]string{"site": "berlin"}, Spec: spec, CSR: text,
	})
	require.NoError(b.t, err)
}

func TestADifferentKeyIsApprovedByNameOnly(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	for range 2 { // the second one with another key
		b.posts("er-1")
	}
	b.posts("er-2")
	table := b.ok("get", "enrollmentrequests")
	require.Regexp(t, `(?m)^NAME +APPROVAL +APPROVER +APPROVED LABELS +KEY$`, table)
	require.Regexp(t, `(?m)^er-1 +Pending .* different$`, table)
	require.Regexp(t, `(?m)^er-2 +Pending .* new$`, table)
	require.Contains(t, b.ok("get", "er", "er-1", "-o", "json"), `"rollcall/key": "different"`)
	require.Contains(t, b.ok("get", "er", "-o", "yaml"), `rollcall/key: new`)

	for _, bulk := range [][]string{{"--all"}, {"-l", "site=berlin"}} {
		o := b.run(append([]string{"approve", "ers", "--dry-run", "--as", "alice"}, bulk...)...)
		require.Equal(t, exitOK, o.code)
		require.Contains(t, o.stdout, "er-1: passed over: its key is not the one known")
		require.Contains(t, o.stdout, "1 request asked: 1 would be approved, 0 refused; 1 request passed over for a different key")
		require.Empty(t, o.stderr)
	}
	report, code := b.enroll("approve", "ers", "--all")
	require.Equal(t, exitOK, code)
	require.Equal(t, []string{"er-2"}, *report.Approved)
	require.Equal(t, []string{"er-1"}, report.DifferentKey)
	o := b.run("approve", "ers", "-l", "site=berlin", "--as", "alice")
	require.Equal(t, exitNothing, o.code)
	require.Contains(t, o.stdout, "nothing to decide: 1 request matched, none of them pending; 1 request passed over for a different key")

	o = b.run("approve", "er", "er-1", "--dry-run", "--as", "alice")
	require.Equal(t, exitOK, o.code)
	require.Contains(t, o.stderr, "warning: enrollmentrequest/er-1: its key is not the one known under this name: whoever holds the new key becomes this device")
	o = b.run("approve", "er", "er-1", "--as", "alice")
	require.Equal(t, exitOK, o.code, o.stderr)
	require.Contains(t, o.stderr, "warning: enrollmentrequest/er-1")
	require.Contains(t, o.stdout, "er-1: approved")
	require.Contains(t, b.ok("get", "events"), "is not the one known before")
	require.Regexp(t, `(?m)^er-1 +Approved .* same$`, b.ok("get", "er"), "it is the one known from now on")
}

// A request that is posted with another key between a look and the decision is not the one that was looked at.
func TestAnApprovalIsOfTheKeyThatWasSeen(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	b.posts("er-1")
	seen, err := b.store.Enrollments(t.Context(), inventory.Query{})
	require.NoError(t, err)
	b.posts("er-1")
	o := &enrollOptions{globals: &globals{taskQueue: b.queue}, requestID: "d1", timeout: 20 * time.Second}
	o.as = "alice"
	decision := (&enrollAsker{enrollOptions: o, client: b.client}).ask(t.Context(), seen[0])
	require.Equal(t, runbook.CodeKeyChanged, decision.Code)
	now, err := b.store.Enrollments(t.Context(), inventory.Query{})
	require.NoError(t, err)
	require.Equal(t, runbook.EnrollmentPending, now[0].State)
}
