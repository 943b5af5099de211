package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/ask"
	"rollcall/starter/printer"
)

// enrollingBench is a world with a worker in which the restore "first" runs over one device and the pending requests
// er-1 to er-3, of which er-1 and er-2 are in Berlin, and one that was approved in the backup. er-late arrived after
// it.
func enrollingBench(t *testing.T) *bench {
	t.Helper()
	b := newTemporalBench(t)
	b.work()
	request := func(name, labels, more string) string {
		return "apiVersion: flightctl.io/v1beta1\nkind: EnrollmentRequest\nmetadata: {name: " + name +
			", labels: {" + labels + "}}\n" +
			strings.ReplaceAll(more, "csr: x", yamlCSR(t, name))
	}
	b.give(device{name: "web-1", version: "5"})
	b.giveYAML(
		request("er-1", "site: berlin", "spec: {csr: x}\n"),
		request("er-2", "site: berlin", "spec: {csr: x, knownRenderedVersion: \"7\"}\n"),
		request("er-3", "site: paris", "spec: {csr: x}\n"),
		request("er-old", "site: berlin", "spec: {csr: x}\nstatus: {approval: {approved: true, approvedBy: carol}}\n"),
	)
	b.restored("first")
	b.giveYAML(request("er-late", "site: rome", "spec: {csr: x}\n"), request("web-1", "site: rome", "spec: {csr: x}\n"))
	return b
}

func (b *bench) enroll(args ...string) (printer.EnrollReport, int) {
	b.t.Helper()
	o := b.run(append(args, "-o", "json", "--as", "alice")...)
	var report printer.EnrollReport
	o.json(b.t, &report)
	return report, o.code
}

func TestApproveEnrollmentRequests(t *testing.T) {
	t.Parallel()
	b := enrollingBench(t)

	plan, code := b.enroll("approve", "enrollmentrequests", "-l", "site=berlin", "--dry-run")
	require.Equal(t, 0, code)
	require.Equal(t, []printer.PlannedEnrollment{
		{Name: "er-1", DeviceState: runbook.StateAwaitingReconnect, Key: runbook.KeyNew},
		{Name: "er-2", DeviceState: runbook.StateAwaitingReconnect, Key: runbook.KeyNew},
	}, plan.WouldApprove)
	require.Equal(t, 1, plan.Skipped)
	require.EqualValues(t, 1, b.tally("first").Total, "a dry run changes nothing")

	report, code := b.enroll("approve", "enrollmentrequest", "er-1", "--label", "site=hamburg", "--request-id", "d1",
		"--reason", "known")
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
		"er-1": runbook.CodeAlreadyApproved, "er-old": runbook.CodeAlreadyApproved, "web-1": runbook.CodeDeviceExists,
		"nosuch": runbook.CodeNotFound,
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
	require.Contains(t, o.stdout, "enrollmentrequest/er-2: approved; its device is AwaitingReconnect, on the roll of "+
		"restore first")
	require.Contains(t, o.stdout, "enrollmentrequest/web-1: refused (DeviceExists)")
	require.EqualValues(t, 3, b.tally("first").Total)

	for name, version := range map[string]string{"web-1": "5", "er-1": "0", "er-2": "0"} {
		b.reported(name, version, runbook.StateNormal)
	}
	require.Eventually(t, func() bool { return b.tally("first").State == runbook.RestoreCompleted }, 2*time.Minute,
		50*time.Millisecond)
}

// csr is a signing request of a key of its own.
func csr(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}},
		key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// yamlCSR is a signing request as a field of a spec in YAML.
func yamlCSR(t *testing.T, name string) string {
	t.Helper()
	return "csr: " + strconv.Quote(csr(t, name))
}

// yamlRequest is an enrollment request in YAML that can be signed; more are further fields of its spec.
func yamlRequest(t *testing.T, name, more string) string {
	t.Helper()
	return "apiVersion: flightctl.io/v1beta1\nkind: EnrollmentRequest\nmetadata: {name: " + name + "}\n" +
		"spec: {" + yamlCSR(t, name) + more + "}\n"
}

// posts is a request that an agent brings with a key of its own.
func (b *bench) posts(name string) {
	b.t.Helper()
	text := csr(b.t, name)
	spec, err := json.Marshal(map[string]string{"csr": text})
	require.NoError(b.t, err)
	_, err = b.store.SubmitRequest(b.t.Context(), inventory.SubmitRequestInput{
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
	require.Regexp(t, `(?m)^NAME +APPROVAL +APPROVER +APPROVED LABELS +KEY +SIGNABLE +ALIAS +HOSTNAME +AGE$`, table)
	require.Regexp(t, `(?m)^er-1 +Pending .* different +yes `, table)
	require.Regexp(t, `(?m)^er-2 +Pending .* new `, table)
	require.Contains(t, b.ok("get", "er", "er-1", "-o", "json"), `"rollcall/key": "different"`)
	require.Contains(t, b.ok("get", "er", "-o", "yaml"), `rollcall/key: new`)

	for _, bulk := range [][]string{{"--all"}, {"-l", "site=berlin"}} {
		o := b.run(append([]string{"approve", "ers", "--dry-run", "--as", "alice"}, bulk...)...)
		require.Equal(t, printer.ExitOK, o.code)
		require.Contains(t, o.stdout, "er-1: passed over: its key is not the one known")
		require.Contains(t, o.stdout, "1 request asked: 1 would be approved, 0 refused; 1 request passed over for a "+
			"different key")
		require.Empty(t, o.stderr)
	}
	report, code := b.enroll("approve", "ers", "--all")
	require.Equal(t, printer.ExitOK, code)
	require.Equal(t, []string{"er-2"}, *report.Approved)
	require.Equal(t, []string{"er-1"}, report.DifferentKey)
	o := b.run("approve", "ers", "-l", "site=berlin", "--as", "alice")
	require.Equal(t, printer.ExitNothing, o.code)
	require.Contains(t, o.stdout, "nothing to decide: 1 request matched, none of them pending; 1 request passed over "+
		"for a different key")

	o = b.run("approve", "er", "er-1", "--dry-run", "--as", "alice")
	require.Equal(t, printer.ExitOK, o.code)
	require.Contains(t, o.stderr, "warning: enrollmentrequest/er-1: its key is not the one known under this name: "+
		"whoever holds the new key becomes this device")
	// Elsewhere than on a terminal the key has to be named, and on one a person has to say yes.
	found, err := b.store.Enrollments(t.Context(), inventory.Query{Names: []string{"er-1"}})
	require.NoError(t, err)
	key := found[0].Fingerprint
	require.Contains(t, b.ok("describe", "er", "er-1"), "Key:        different, "+key)
	o = b.run("approve", "er", "er-1", "--as", "alice")
	require.Equal(t, printer.ExitUsage, o.code)
	require.Contains(t, o.stderr, "say that you know it with --expect-key "+key)
	o = b.run("approve", "er", "er-1", "--as", "alice", "--expect-key", "abc")
	require.Equal(t, printer.ExitFailed, o.code)
	require.Contains(t, o.stderr, "another key since you looked")
	b.terminal = true
	o = b.runWith(t.Context(), "no\n", "approve", "er", "er-1", "--as", "alice")
	require.Equal(t, printer.ExitFailed, o.code)
	require.Contains(t, o.stderr, "not approved")
	require.Contains(t, b.ok("get", "er", "er-1"), "Pending")
	o = b.runWith(t.Context(), "yes\n", "approve", "er", "er-1", "--as", "alice")
	require.Equal(t, printer.ExitOK, o.code, o.stderr)
	require.Contains(t, o.stderr, "warning: enrollmentrequest/er-1")
	require.Contains(t, o.stdout, "er-1: approved; its device is Normal; key "+key)
	require.Contains(t, b.ok("get", "events"), "is not the one known before")
	require.Regexp(t, `(?m)^er-1 +\S*Approved\S* .* same `, b.ok("get", "er"), "it is the one known from now on")
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
	asker := &ask.Decider{
		Client: b.client, Queue: b.queue, RequestID: "d1", Timeout: 20 * time.Second,
		Decided: ask.Decided{By: "alice"},
	}
	decision := asker.Ask(t.Context(), seen[0])
	require.Equal(t, runbook.CodeKeyChanged, decision.Code)
	now, err := b.store.Enrollments(t.Context(), inventory.Query{})
	require.NoError(t, err)
	require.Equal(t, runbook.EnrollmentPending, now[0].State)
}

// With names, -l gives labels, as Flight Control's own command line has it.
func TestApproveGivesTheLabelsOfL(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	for _, name := range []string{"er-1", "er-2", "er-3"} {
		b.giveYAML(yamlRequest(t, name, ", labels: {site: paris, rack: r1}"))
	}
	b.ok("approve", "-l", "site=berlin,env=test", "-l", "tier=a", "er/er-1", "--as", "alice")
	require.Regexp(t, `(?m)^er-1 .*env=test,rack=r1,site=berlin,tier=a$`, b.ok("get", "devices", "-o", "wide"))
	b.ok("approve", "er/er-2", "-l", "site=berlin", "--replace-labels", "--as", "alice")
	require.Regexp(t, `(?m)^er-2 .* site=berlin$`, b.ok("get", "devices", "-o", "wide"))
	o := b.run("approve", "er/er-3", "-l", "site")
	require.Equal(t, printer.ExitUsage, o.code)
	require.Contains(t, o.stderr, "with names it gives labels")
	o = b.run("approve", "er/er-3", "-l", "si/t/e=b")
	require.Equal(t, printer.ExitUsage, o.code)
}

// A request that can never be signed is shown as that wherever it is seen, and is not approved.
func TestARequestThatCanNeverBeSigned(t *testing.T) {
	t.Parallel()
	b := newTemporalBench(t)
	b.work()
	o := b.runWith(t.Context(), unsignableRequest("er-good", yamlCSR(t, "er-good"))+
		unsignableRequest("er-other", yamlCSR(t, "er-x"))+unsignableRequest("er-odd", "csr: x")+
		unsignableRequest("er-tpm", "csr: AQABAAAAAEAAAABGAAAAAAAAAAAAAAAAAAAAAAAAAAA="), "import", "-f", "-")
	require.Equal(t, printer.ExitOK, o.code, o.stderr)
	require.Contains(t, o.stdout, "4 enrollment requests; 3 enrollment requests can never be signed")
	require.Contains(t, o.stderr,
		`warning: enrollmentrequest/er-other can never be signed: its spec.csr asks for a certificate of "er-x"`)
	require.Contains(t, o.stderr, "warning: enrollmentrequest/er-tpm can never be signed here: it comes from a TPM")
	require.Contains(t, o.stderr, "warning: enrollmentrequest/er-odd can never be signed: its spec.csr is not accepted")

	table := b.ok("get", "enrollmentrequests")
	require.Regexp(t, `(?m)^er-good +Pending .* new +yes `, table)
	require.Regexp(t, `(?m)^er-other +Pending .* never \(OtherDevice\) `, table)
	require.Regexp(t, `(?m)^er-tpm +Pending .* never \(TPM\) `, table)
	require.Regexp(t, `(?m)^er-odd +Pending .* never \(Malformed\) `, table)
	require.Contains(t, b.ok("get", "er/er-tpm", "-o", "json"), `"rollcall/unsignable": "TPM"`)
	require.NotContains(t, b.ok("get", "er/er-good", "-o", "json"), `rollcall/unsignable`)
	text := b.ok("describe", "er", "er-other")
	require.Contains(t, text, "an approval would be refused: enrollment request er-other can never be signed")
	require.Contains(t, text, "warning: it can never be signed")
	require.NotContains(t, text, "starter approve")
	require.Contains(t, b.ok("describe", "er", "er-tpm", "-o", "json"), `"reason": "TPM"`)

	report, code := b.enroll("approve", "ers", "--all", "--dry-run")
	require.Equal(t, 4, code)
	require.Len(t, report.WouldApprove, 1)
	require.Len(t, report.Refused, 3)
	report, code = b.enroll("approve", "ers", "--all")
	require.Equal(t, 4, code)
	require.Equal(t, []string{"er-good"}, *report.Approved)
	require.Len(t, report.Refused, 3)
	for _, r := range report.Refused {
		require.Equal(t, runbook.CodeUnsignable, r.Code)
	}
	require.Contains(t, b.ok("get", "transitions", "--refused"), "Unsignable")
	require.NotContains(t, b.ok("get", "devices", "-o", "name"), "er-tpm")
	b.ok("deny", "er/er-tpm", "--as", "alice")
	require.Regexp(t, `(?m)^er-tpm +Denied +alice .* <none> `, b.ok("get", "er"))
}

func unsignableRequest(name, csr string) string {
	return "apiVersion: flightctl.io/v1beta1\nkind: EnrollmentRequest\nmetadata: {name: " + name + "}\nspec: {" + csr +
		"}\n---\n"
}

// A workflow gives the same answer to every update of an id, whatever its name. A denial is not answered with the
// approval of the same request id.
func TestADenialUnderTheIDOfAnApproval(t *testing.T) {
	t.Parallel()
	b := enrollingBench(t)
	_, code := b.enroll("approve", "er/er-2", "--request-id", "one")
	require.Equal(t, 0, code)
	denied, code := b.enroll("deny", "er/er-2", "--request-id", "one")
	require.Equal(t, 4, code)
	require.Empty(t, *denied.Denied)
	require.Len(t, denied.Refused, 1)
	require.Equal(t, runbook.CodeAlreadyApproved, denied.Refused[0].Code)
	report := b.run("reconnect", "device", "er-2", "--rendered-version", "7", "--request-id", "one")
	require.Equal(t, 0, report.code, report.stderr)
	b.until("er-2", runbook.StateConflictPaused)
	require.Contains(t, b.ok("resume", "device", "er-2", "--request-id", "one"), "version 8 is rendered next")
}
