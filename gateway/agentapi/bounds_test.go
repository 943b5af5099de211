package agentapi_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
)

// heldBack is what the roll says of reports that were not told.
func (b *bench) heldBack() int {
	return b.count(`select held_back from rollcall.roll where not superseded`)
}

// credit lets each device report as if it had been quiet for long.
func (b *bench) credit() {
	b.t.Helper()
	b.store.DB().MustExec(`update rollcall.roll set report_credit = null`)
}

// mayBeTold is how many reports of a device may have been told since begin: five, and one each half a minute.
func mayBeTold(begin time.Time) int { return 6 + int(time.Since(begin)/(30*time.Second)) }

// A paused device reports two versions by turns. Each report would be an entry of the audit.
func TestReportsByTurnsAreHeldBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := newBenchOn(t, b.url)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	b.reconnect("r1", "web-1", "7")
	agents := []*agent{b.agent("web-1"), other.agent("web-1")}
	begin := time.Now()
	for i := range 40 {
		require.Equal(t, http.StatusNoContent, agents[i%2].poll(fmt.Sprint(8+i%4)).code)
	}
	told := len(b.signals.versions()) + len(other.signals.versions())
	require.LessOrEqual(t, told, mayBeTold(begin), "of both gateways together")
	require.GreaterOrEqual(t, told, 5)
	require.GreaterOrEqual(t, b.heldBack(), 15, "the others, but for those that are repeated within seconds")
	require.Contains(t, b.ops("/metrics").body, `rollcall_gateway_reports_total{result="held"}`)
}

func TestUnreadableReportsAreHeldBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	a := b.agent("web-1")
	begin := time.Now()
	for i := range 40 {
		requireStatus(t, a.poll(fmt.Sprintf("x%d", i)), http.StatusBadRequest, "digits")
	}
	told := len(b.signals.versions())
	require.LessOrEqual(t, told, mayBeTold(begin))
	require.Equal(t, 40, told+b.heldBack(), "the others")
}

// The newest report is told as soon as it may be, while its poll is held.
func TestTheNewestReportPasses(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	b.reconnect("r1", "web-1", "7")
	b.store.DB().MustExec(`update rollcall.roll set report_credit = 0, report_credit_at = now()`)
	b.agent("web-1").polling("9")
	b.held(1)
	held := func() (times int) {
		_, after, _ := strings.Cut(b.ops("/metrics").body, `rollcall_gateway_reports_total{result="held"} `)
		_, _ = fmt.Sscan(after, &times)
		return times
	}
	require.Eventually(t, func() bool { return held() >= 3 }, waitLimit, 10*time.Millisecond, "it is tried again")
	require.Equal(t, 1, b.heldBack())
	require.Empty(t, b.signals.versions())
	b.store.DB().MustExec(`update rollcall.roll set report_credit_at = now() - interval '40 seconds'`)
	require.Eventually(t, func() bool { return len(b.signals.versions()) == 1 }, waitLimit, 10*time.Millisecond)
	require.Equal(t, []string{"9"}, b.signals.versions())
	require.Equal(t, 1, b.heldBack(), "a report that is tried again is counted once")
}

// A status that comes too soon is not stored, and its agent is told when to send it again. It passes then.
func TestAStatusThatIsHeldBackPassesWhenItIsSentAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	b.reconnect("r1", "web-1", "7")
	a := b.agent("web-1")
	b.store.DB().MustExec(`update rollcall.roll set report_credit = 0.2,
		report_credit_at = clock_timestamp() + interval '1 hour'`) // no credit comes, however slow this machine is
	const status = `{"config": {"renderedVersion": "9"}, "os": {"image": "new"}}`
	held := a.put(status)
	requireStatus(t, held, http.StatusServiceUnavailable, "reports too often")
	after, err := strconv.Atoi(held.header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 24, after, 1, "0.8 of 30 seconds")
	require.Empty(t, b.signals.versions())
	stored := `select count(*) from devices where status #>> '{os,image}' = 'new'`
	require.Zero(t, b.count(stored), "what is answered 503 is not stored")
	require.Equal(t, 1, b.heldBack())

	requireStatus(t, a.put(`{"config": {"renderedVersion": "x9"}}`), http.StatusBadRequest, "digits")

	b.store.DB().MustExec(`update rollcall.roll set report_credit_at = report_credit_at - $1 * interval '1 second'`, after)
	require.Equal(t, http.StatusOK, a.put(status).code, "the first attempt after that time passes")
	require.Equal(t, []string{"9"}, b.signals.versions())
	require.Equal(t, 1, b.count(stored))
}

// dial connects with a certificate, over HTTP/1.1.
func (b *bench) dial(certificate authority.Pair) net.Conn {
	b.t.Helper()
	pair, err := certificate.TLS()
	require.NoError(b.t, err)
	conn, err := tls.Dial("tcp", b.gateway.Address(), &tls.Config{
		RootCAs: b.ca.Pool(), Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"},
	})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A body that never comes keeps no connection open, also where no one reads it.
func TestABodyThatNoOneReadsHasItsTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.BodyTimeout = 500 * time.Millisecond })
	b.give(map[string]string{"web-1": "5"})
	certificate, err := b.ca.Device("web-1", lifetime)
	require.NoError(t, err)
	for _, line := range []string{
		"GET /api/v1/devices/web-1/rendered", "DELETE /api/v1/devices/web-1/status", "POST /nowhere",
		"GET /api/v1/enrollmentrequests/web-1", "POST /api/v1/devices/web-1/else", "PUT /api/v1/devices/web-2/status",
		"GET /api/v1/certificatesigningrequests/web-1-a",
	} {
		conn := b.dial(certificate)
		_, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", line)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(waitLimit/3)))
		_, err = io.Copy(io.Discard, conn)
		require.NoError(t, err, "%s: the gateway should close the connection", line)
	}
}

func TestConnectionsOfACertificateAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.ConnectionsPerCertificate = 3 })
	b.give(map[string]string{"web-1": "5"})
	b.roll("r1")
	certificate, err := b.ca.Device("web-1", lifetime)
	require.NoError(t, err)
	ask := func() (net.Conn, string) {
		conn := b.dial(certificate)
		_, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		line := make([]byte, len("HTTP/1.1 404"))
		_, err = io.ReadFull(conn, line)
		require.NoError(t, err)
		return conn, string(line)
	}
	var open []net.Conn
	for range 3 {
		conn, line := ask()
		require.Equal(t, "HTTP/1.1 404", line)
		open = append(open, conn)
	}
	conn, line := ask()
	require.Equal(t, "HTTP/1.1 429", line)
	_, err = io.Copy(io.Discard, conn)
	require.NoError(t, err, "it is closed")
	require.Equal(t, 1, b.refusals("certificate"))
	require.Equal(t, http.StatusNotFound, b.agent("web-1").do(http.MethodGet, "/", "").code, "another certificate")
	require.NoError(t, open[0].Close())
	require.Eventually(t, func() bool { _, line := ask(); return line == "HTTP/1.1 404" }, waitLimit, 20*time.Millisecond)
}

// A device can have its certificate renewed. The renewed one has the same key, and shares its bound.
func TestConnectionsOfRenewedCertificatesAreBoundedTogether(t *testing.T) {
	t.Parallel()
	b := newBench(t, patient, func(c *agentapi.Config) { c.ConnectionsPerCertificate = 2 })
	b.give(map[string]string{"web-1": "5"})
	first, err := b.ca.Device("web-1", lifetime)
	require.NoError(t, err)
	pair, err := first.TLS()
	require.NoError(t, err)
	csr, err := authority.ReadRequest(csrOf(t, "web-1", pair.PrivateKey))
	require.NoError(t, err)
	renewed, err := b.ca.Sign(csr, authority.Subject{Device: "web-1", Signer: authority.SignerRenewal}, lifetime)
	require.NoError(t, err)
	second := authority.Pair{Cert: renewed, Key: first.Key}
	statuses := map[string]int{}
	for i := range 6 {
		conn := b.dial([]authority.Pair{first, second}[i%2])
		_, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		line := make([]byte, len("HTTP/1.1 404"))
		_, err = io.ReadFull(conn, line)
		require.NoError(t, err)
		statuses[string(line)]++
	}
	require.Equal(t, map[string]int{"HTTP/1.1 404": 2, "HTTP/1.1 429": 4}, statuses)
}

// A device that has its certificate renewed without end is told to use the last one.
func TestRenewalsOfAKeyAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n, other := b.newcomer("web-1"), b.newcomer("web-2")
	a, neighbour := n.enrolled(), other.enrolled()
	renew := func(a *agent, n *newcomer, i int) answer {
		name := fmt.Sprintf("%s-%d", n.name, i)
		return a.do(http.MethodPost, renewalsPath, renewalBody(name, authority.SignerRenewal, n.csr()))
	}
	for i := range 10 {
		require.Equal(t, http.StatusCreated, renew(a, n, i).code)
	}
	requireStatus(t, renew(a, n, 10), http.StatusTooManyRequests, "was renewed 10 times within an hour")
	require.Equal(t, 1, b.refusals("renewals"))
	require.Equal(t, http.StatusOK, a.do(http.MethodGet, renewalsPath+"/web-1-9", "").code, "the last one can be read")
	require.Equal(t, http.StatusCreated, renew(neighbour, other, 0).code)
}

func TestConnectionsOfAnAddressAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.ConnectionsPerAddress = 5 })
	var open []net.Conn
	for range 5 {
		conn, err := net.Dial("tcp", b.gateway.Address())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		open = append(open, conn)
	}
	require.Eventually(t, func() bool {
		_, err := b.agent("web-1").try(http.MethodGet, "/", nil)
		return err != nil
	}, waitLimit, 20*time.Millisecond)
	require.Positive(t, b.refusals("address"))
	require.NoError(t, open[0].Close())
	require.Eventually(t, func() bool {
		_, err := b.agent("web-1").try(http.MethodGet, "/", nil)
		return err == nil
	}, waitLimit, 20*time.Millisecond)
}
