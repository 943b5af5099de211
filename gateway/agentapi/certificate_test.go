package agentapi_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
)

// beside is another gateway over the same database, as another process would be.
func (b *bench) beside(change ...func(*agentapi.Config)) *bench {
	b.t.Helper()
	other := newBenchOn(b.t, b.url, append([]func(*agentapi.Config){func(c *agentapi.Config) {
		c.CA, c.ClientCAs = b.ca, b.ca.Pool()
	}}, change...)...)
	return other
}

// at is the same agent at another gateway.
func (n *newcomer) at(other *bench) *newcomer {
	n.t.Helper()
	pair, err := n.ca.Enrollment("", lifetime)
	require.NoError(n.t, err)
	client := other.client(pair)
	return &newcomer{agent: &agent{bench: other, name: n.name, http: client}, key: n.key}
}

func TestAllGatewaysAnswerTheSameCertificate(t *testing.T) {
	t.Parallel()
	forTwoDays := func(c *agentapi.Config) { c.CertificateLifetime = 48 * time.Hour }
	b := newBench(t, forTwoDays)
	n := b.newcomer()
	requirePending(t, n.post(""), http.StatusCreated)
	b.decided(n.name)
	gateways := []*newcomer{n, n.at(b.beside(forTwoDays)), n.at(b.beside(forTwoDays))}
	var wg sync.WaitGroup
	certificates := make([]string, 4*len(gateways))
	for i := range certificates {
		wg.Go(func() { certificates[i] = requireApproved(t, gateways[i%len(gateways)].get()).Status.Certificate })
	}
	wg.Wait()
	for _, c := range certificates {
		require.Equal(t, certificates[0], c)
	}
	block, _ := pem.Decode([]byte(certificates[0]))
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.Equal(t, "device:"+n.name, cert.Subject.CommonName)
	require.WithinDuration(t, time.Now().Add(48*time.Hour), cert.NotAfter, time.Minute)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
	require.Equal(t, http.StatusNoContent, n.admitted(certificates[0]).poll("").code, "and is let in with it")
}

// An agent fails on an approval without a certificate, so that it is shown none where none can be made.
func TestAnApprovalThatCannotBeSignedLooksPending(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *agentapi.Config) { c.CA = nil })
	n, odd, gone := b.newcomer(), b.newcomer(), b.newcomer()
	for _, n := range []*newcomer{n, odd, gone} {
		requirePending(t, n.post(""), http.StatusCreated)
	}
	for _, n := range []*newcomer{n, odd, gone} {
		b.decided(n.name)
		requirePending(t, n.get(), http.StatusOK)
		requireStatus(t, n.post(""), http.StatusConflict, "device is there")
	}
	require.Contains(t, b.ops("/metrics").body, `rollcall_gateway_certificates_total{result="unable"} 3`)

	b.store.DB().MustExec(`update enrollment_requests set spec = '{"csr": "x"}' where name = $1`, odd.name)
	signing := b.beside()
	requireApproved(t, n.at(signing).get())
	requireApproved(t, n.get())
	requirePending(t, odd.at(signing).get(), http.StatusOK)
	b.store.DB().MustExec(`delete from devices where name = $1`, gone.name)
	requirePending(t, gone.at(signing).get(), http.StatusOK)
	require.Contains(t, signing.ops("/metrics").body, `rollcall_gateway_certificates_total{result="signed"} 1`)
}

func TestACertificateOfFlightControlsIsAnsweredAsItIs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	requirePending(t, n.post(""), http.StatusCreated)
	b.decided(n.name)
	b.store.DB().MustExec(`update enrollment_requests set status = status || '{"certificate": "theirs"}'`)
	before := *b.text(`select status::text from enrollment_requests`)
	require.Equal(t, "theirs", requireApproved(t, n.get()).Status.Certificate)
	require.Equal(t, before, *b.text(`select status::text from enrollment_requests`))
}

func TestACertificateThatCannotBeStoredIsNotAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	requirePending(t, n.post(""), http.StatusCreated)
	b.decided(n.name)
	b.store.DB().MustExec(`create function stop() returns trigger language plpgsql as $$ begin raise exception 'full'; end
		$$`)
	b.store.DB().MustExec(`create trigger stop before update on enrollment_requests for each row execute function stop()`)
	requireStatus(t, n.get(), http.StatusServiceUnavailable, "try again")
	b.store.DB().MustExec(`drop trigger stop on enrollment_requests`)
	requireApproved(t, n.get())
}

func TestAnAuthorityThatNobodyTrustsIsRefused(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	pair, err := ca.Server([]string{"127.0.0.1"}, lifetime)
	require.NoError(t, err)
	certificate, err := pair.TLS()
	require.NoError(t, err)
	_, err = agentapi.New(agentapi.Config{
		Logger: quiet(), Listen: "127.0.0.1:0", Certificate: &certificate, ClientCAs: ca.Pool(), CA: newAuthority(t),
	})
	require.ErrorContains(t, err, "would not be accepted")
}

func TestACertificateThatEndsIsSignedAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.newcomer()
	requirePending(t, n.post(""), http.StatusCreated)
	b.decided(n.name)
	csr, err := authority.ReadRequest(n.csr())
	require.NoError(t, err)
	holds := func(certificate string) {
		t.Helper()
		b.store.DB().MustExec(`update enrollment_requests set status = status || jsonb_build_object('certificate',
			cast($1 as text))`, certificate)
	}
	signed := func(by *authority.CA, lifetime time.Duration) string {
		t.Helper()
		text, err := by.SignRequest(csr, n.name, lifetime)
		require.NoError(t, err)
		return string(text)
	}
	for name, lifetime := range map[string]time.Duration{"expired": -time.Minute, "in the last tenth": 20 * time.Second} {
		old := signed(b.ca, lifetime)
		holds(old)
		fresh := requireApproved(t, n.get()).Status.Certificate
		require.NotEqual(t, old, fresh, name)
		require.Equal(t, http.StatusNoContent, n.admitted(fresh).poll("").code, name)
		require.Equal(t, fresh, requireApproved(t, n.get()).Status.Certificate, "once")
	}
	theirs := signed(newAuthority(t), -time.Minute)
	holds(theirs)
	require.Equal(t, theirs, requireApproved(t, n.get()).Status.Certificate, "another authority's is for others to sign")

	// What cannot be signed again is shown as long as it is worth something.
	b.store.DB().MustExec(`update enrollment_requests set spec = '{"csr": "x"}'`)
	ending := signed(b.ca, 20*time.Second)
	holds(ending)
	require.Equal(t, ending, requireApproved(t, n.get()).Status.Certificate)
	holds(signed(b.ca, -time.Minute))
	requirePending(t, n.get(), http.StatusOK)
}
