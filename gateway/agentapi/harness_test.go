package agentapi_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
	"rollcall/internal/devenv/devtest"
	"rollcall/internal/enrollment"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

const (
	waitLimit = 3 * time.Minute // other tests run beside these
	lifetime  = time.Hour
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// bench is one test's world: a database, an authority, and a gateway that serves over TLS.
type bench struct {
	t   testing.TB
	url string
	// store is the owner's, and serving the gateway's, with the rights of its role.
	store   *inventory.Store
	serving *inventory.Store
	ca      *authority.CA
	gateway *agentapi.Gateway
	// signals are those that the gateway has sent.
	signals *counter
	queue   string
	stop    func()
}

// counter notes the signals on their way to Temporal, or in place of it.
type counter struct {
	to   agentapi.Workflows
	mu   sync.Mutex
	sent []runbook.ReconnectSignal
	// started are the enrollments whose workflows the gateway has started, or tried to.
	started []runbook.EnrollmentInput
}

func (c *counter) ExecuteWorkflow(
	ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any,
) (client.WorkflowRun, error) {
	c.mu.Lock()
	c.started = append(c.started, args[0].(runbook.EnrollmentInput))
	to, _ := c.to.(enrollment.Starter)
	c.mu.Unlock()
	if to == nil {
		return nil, nil
	}
	return to.ExecuteWorkflow(ctx, options, workflow, args...)
}

func (c *counter) enrollments() []runbook.EnrollmentInput {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.started)
}

func (c *counter) SignalWorkflow(ctx context.Context, id, run, name string, message any) error {
	c.mu.Lock()
	c.sent = append(c.sent, message.(runbook.ReconnectSignal))
	c.mu.Unlock()
	if c.to == nil {
		return nil
	}
	return c.to.SignalWorkflow(ctx, id, run, name, message)
}

func (c *counter) CancelWorkflow(ctx context.Context, id, run string) error {
	if c.to == nil {
		return nil
	}
	return c.to.CancelWorkflow(ctx, id, run)
}

func (c *counter) versions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	versions := []string{}
	for _, s := range c.sent {
		versions = append(versions, s.RenderedVersion)
	}
	return versions
}

func newAuthority(t testing.TB) *authority.CA {
	t.Helper()
	dir := t.TempDir()
	ca, err := authority.LoadOrMake(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	return ca
}

// newBench is a world whose polls are held only for a moment, unless the test says otherwise.
func newBench(t testing.TB, change ...func(*agentapi.Config)) *bench {
	t.Helper()
	return newBenchOn(t, devtest.Database(t), change...)
}

func newBenchOn(t testing.TB, url string, change ...func(*agentapi.Config)) *bench {
	t.Helper()
	store, err := inventory.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	serving, err := inventory.Open(t.Context(), devtest.As(t, url, roles.Gateway))
	require.NoError(t, err)
	t.Cleanup(func() { _ = serving.Close() })
	b := &bench{
		t: t, url: url, store: store, serving: serving, ca: newAuthority(t), signals: &counter{},
		queue: devtest.TaskQueue(t),
	}
	server, err := b.ca.Server([]string{"127.0.0.1"}, lifetime)
	require.NoError(t, err)
	certificate, err := server.TLS()
	require.NoError(t, err)
	cfg := agentapi.Config{
		Store: serving, Temporal: b.signals, TaskQueue: b.queue, CA: b.ca, Logger: quiet(),
		Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0",
		Certificate: &certificate, ClientCAs: b.ca.Pool(), Render: true,
		PollFor: 300 * time.Millisecond, WatchEvery: 20 * time.Millisecond, RecheckEvery: time.Minute,
	}
	for _, c := range change {
		c(&cfg)
	}
	b.gateway, err = agentapi.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.gateway.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(b.stop)
	return b
}

// patient makes polls be held for longer than any test waits.
func patient(cfg *agentapi.Config) { cfg.PollFor = 2 * waitLimit }

// to makes signals go to Temporal.
func (b *bench) to(c client.Client) {
	b.signals.mu.Lock()
	defer b.signals.mu.Unlock()
	b.signals.to = c
}

// give imports devices with these restored versions, each with a spec of its own.
func (b *bench) give(devices map[string]string) {
	b.t.Helper()
	var documents strings.Builder
	for name, version := range devices {
		fmt.Fprintf(&documents, `{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":%q,"annotations":{"device-controller/renderedVersion":%q}},
			"spec":{"os":{"image":"registry.example.com/%s:1"}},"status":{"summary":{"status":"Online"},"config":{"renderedVersion":%q}}}`+"\n---\n", name, version, name, version)
	}
	_, err := b.store.Import(b.t.Context(), strings.NewReader(documents.String()), inventory.ImportOptions{})
	require.NoError(b.t, err)
}

// roll puts all devices on the roll of a restore that has come to each of them, without workflows.
func (b *bench) roll(id string) {
	b.t.Helper()
	b.uncalled(id)
	for wave := 0; len(b.claim(id, wave, 1000)) > 0; wave++ {
	}
}

// claim has the roll call come to the next devices.
func (b *bench) claim(id string, wave, limit int) []inventory.RollEntry {
	b.t.Helper()
	claimed, err := b.store.Claim(b.t.Context(), inventory.ClaimInput{RestoreID: id, Wave: wave, Limit: limit})
	require.NoError(b.t, err)
	return claimed
}

// uncalled puts all devices on the roll of a restore that has yet to come to them.
func (b *bench) uncalled(id string) {
	b.t.Helper()
	_, err := b.store.OpenRestore(b.t.Context(), inventory.OpenRestoreInput{ID: id, By: "alice", Supersede: true})
	require.NoError(b.t, err)
	_, err = b.store.PutOnRoll(b.t.Context(), inventory.RollInput{RestoreID: id})
	require.NoError(b.t, err)
	_, err = b.store.FinishRoll(b.t.Context(), id)
	require.NoError(b.t, err)
}

func (b *bench) reconnect(restoreID, name, version string) {
	b.t.Helper()
	_, err := b.store.Reconnect(b.t.Context(),
		inventory.ReconnectInput{
			RestoreID: restoreID, OrgID: runbook.DefaultOrgID, Name: name,
			Restored: "5", Reported: version,
		})
	require.NoError(b.t, err)
}

func (b *bench) resume(restoreID, name string) {
	b.t.Helper()
	done, err := b.store.Resume(b.t.Context(),
		inventory.ResumeInput{RestoreID: restoreID, OrgID: runbook.DefaultOrgID, Name: name, By: "alice"})
	require.NoError(b.t, err)
	require.Nil(b.t, done.Refusal)
}

// work runs a worker on a Temporal of the test's own, to which the gateway's signals go.
func (b *bench) work() client.Client {
	b.t.Helper()
	server := devtest.Temporal(b.t)
	c := server.Client(b.t)
	b.to(c)
	store, err := inventory.Open(b.t.Context(), devtest.As(b.t, b.url, roles.Worker))
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = store.Close() })
	worker, err := host.New(b.t.Context(), host.Config{
		Client: c, Store: store, Namespace: server.Namespace, TaskQueue: b.queue, Logger: quiet(),
	})
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); require.NoError(b.t, <-done) })
	return c
}

func (b *bench) until(name string, state runbook.State) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		found, err := b.store.Position(b.t.Context(), inventory.Query{Names: []string{name}})
		return err == nil && len(found) == 1 && found[0].State == state
	}, waitLimit, 20*time.Millisecond, "device %s does not become %s", name, state)
}

// client is an agent with a certificate, or without one.
func (b *bench) client(certificates ...authority.Pair) *http.Client {
	b.t.Helper()
	config := &tls.Config{RootCAs: b.ca.Pool()}
	for _, p := range certificates {
		certificate, err := p.TLS()
		require.NoError(b.t, err)
		config.Certificates = append(config.Certificates, certificate)
	}
	transport := &http.Transport{TLSClientConfig: config}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: waitLimit}
}

// agent is the agent of a device.
func (b *bench) agent(name string) *agent {
	b.t.Helper()
	pair, err := b.ca.Device(name, lifetime)
	require.NoError(b.t, err)
	return &agent{bench: b, name: name, http: b.client(pair)}
}

type agent struct {
	*bench
	name string
	http *http.Client
}

type answer struct {
	code   int
	header http.Header
	body   string
}

func (a *agent) do(method, path, body string) answer {
	got, err := a.try(method, path, strings.NewReader(body))
	require.NoError(a.t, err)
	return got
}

func (a *agent) try(method, path string, body io.Reader) (answer, error) {
	return a.send(method, path, "application/json", body)
}

func (a *agent) send(method, path, contentType string, body io.Reader) (answer, error) {
	r, err := http.NewRequestWithContext(a.t.Context(), method, "https://"+a.gateway.Address()+path, body)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", contentType)
	response, err := a.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

func (a *agent) rendered(query string) string {
	return "/api/v1/devices/" + a.name + "/rendered" + query
}

// poll asks for what is newer than a version, which is put into the query as it is.
func (a *agent) poll(version string) answer {
	a.t.Helper()
	return a.do(http.MethodGet, a.rendered("?knownRenderedVersion="+version), "")
}

// polling is a poll that goes on beside the test.
func (a *agent) polling(version string) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		got, err := a.try(http.MethodGet, a.rendered("?knownRenderedVersion="+version), nil)
		if err != nil {
			got.body = err.Error()
		}
		done <- got
	}()
	return done
}

// insisting is a poll that goes on beside the test, and is made again as long as the agent is told to come again: a
// busy machine may not find the time for one within the gateway's limits.
func (a *agent) insisting(version string) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		got := <-a.polling(version)
		for began := time.Now(); got.code == http.StatusServiceUnavailable && time.Since(began) < waitLimit; {
			got = <-a.polling(version)
		}
		done <- got
	}()
	return done
}

// asking is a poll that goes on beside the test, and is made again when it ends without news.
func (a *agent) asking(version string) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		got := <-a.polling(version)
		for began := time.Now(); got.code == http.StatusNoContent && time.Since(began) < waitLimit; {
			got = <-a.polling(version)
		}
		done <- got
	}()
	return done
}

func (a *agent) put(status string) answer {
	a.t.Helper()
	return a.do(http.MethodPut, "/api/v1/devices/"+a.name+"/status",
		fmt.Sprintf(`{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":%q},"status":%s}`, a.name,
			status))
}

// held waits until the gateway holds that many polls.
func (b *bench) held(n int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return strings.Contains(b.ops("/metrics").body, fmt.Sprintf("rollcall_gateway_polls_open %d\n", n))
	}, waitLimit, 10*time.Millisecond, "%d polls should be held", n)
}

func (b *bench) ops(path string) answer {
	response, err := http.Get("http://" + b.gateway.MetricsAddress() + path)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return answer{code: response.StatusCode, body: string(text)}
}

// requireStatus checks that an answer is a Status object.
func requireStatus(t testing.TB, got answer, code int, says string) {
	t.Helper()
	require.Equal(t, code, got.code, got.body)
	var status struct {
		APIVersion, Kind, Status, Reason, Message string
		Code                                      int
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &status), got.body)
	require.Equal(t, "Status", status.Kind)
	require.Equal(t, "Failure", status.Status)
	require.Equal(t, inventory.APIVersion, status.APIVersion)
	require.Equal(t, code, status.Code)
	require.Equal(t, http.StatusText(code), status.Reason)
	require.Contains(t, status.Message, says)
	again := code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests
	require.Equal(t, again, got.header.Get("Retry-After") != "")
}

// served reads the device of a 200.
func served(t *testing.T, got answer) inventory.Resource {
	t.Helper()
	require.Equal(t, http.StatusOK, got.code, got.body)
	var device inventory.Resource
	require.NoError(t, json.Unmarshal([]byte(got.body), &device))
	return device
}

func version(device inventory.Resource) string {
	return device.Metadata.Annotations[runbook.AnnotationRenderedVersion]
}
