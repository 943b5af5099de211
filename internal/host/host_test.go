package host_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv/devtest"
	"rollcall/internal/host"
	"rollcall/inventory"
	"rollcall/runbook"
)

func TestMain(m *testing.M) { devtest.Main(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, url string) *inventory.Store {
	t.Helper()
	store, err := inventory.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func attributes(t *testing.T, c client.Client, namespace string) map[string]enumspb.IndexedValueType {
	t.Helper()
	list, err := c.OperatorService().ListSearchAttributes(t.Context(),
		&operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	require.NoError(t, err)
	return list.GetCustomAttributes()
}

func TestEnsureSearchAttributes(t *testing.T) {
	t.Parallel()
	t.Run("registers what is missing, once", func(t *testing.T) {
		t.Parallel()
		server := devtest.EmptyTemporal(t)
		c := server.Client(t)
		require.NotContains(t, attributes(t, c, server.Namespace), runbook.AttributeDeviceStatus)
		require.NoError(t, host.EnsureSearchAttributes(t.Context(), c, server.Namespace))
		for _, name := range runbook.SearchAttributes {
			require.Equal(t, enumspb.INDEXED_VALUE_TYPE_KEYWORD, attributes(t, c, server.Namespace)[name], name)
		}
		require.NoError(t, host.EnsureSearchAttributes(t.Context(), c, server.Namespace))
	})
	t.Run("does not use one of another type", func(t *testing.T) {
		t.Parallel()
		server := devtest.EmptyTemporal(t)
		c := server.Client(t)
		_, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
			Namespace:        server.Namespace,
			SearchAttributes: map[string]enumspb.IndexedValueType{runbook.AttributeFleet: enumspb.INDEXED_VALUE_TYPE_INT},
		})
		require.NoError(t, err)
		err = host.EnsureSearchAttributes(t.Context(), c, server.Namespace)
		require.ErrorContains(t, err, "search attribute Fleet")
		require.ErrorContains(t, err, "temporal operator search-attribute remove")
	})
}

func TestNewNeedsTheSchema(t *testing.T) {
	t.Parallel()
	server := devtest.Temporal(t)
	_, err := host.New(t.Context(), host.Config{
		Client: server.Client(t), Store: open(t, devtest.EmptyDatabase(t)), Namespace: server.Namespace, Logger: quiet(),
	})
	require.ErrorContains(t, err, "starter migrate")
}

func TestServesMetricsAndHealth(t *testing.T) {
	t.Parallel()
	server := devtest.Temporal(t)
	metrics, err := host.NewMetrics()
	require.NoError(t, err)
	c, err := client.Dial(client.Options{
		HostPort: server.Address, Namespace: server.Namespace, MetricsHandler: metrics.ForTemporal(quiet()),
	})
	require.NoError(t, err)
	defer c.Close()
	store := open(t, devtest.Database(t))
	const fleet = `{"apiVersion":"flightctl.io/v1beta1","kind":"Device","metadata":{"name":"web-7"},"spec":{},"status":{}}`
	_, err = store.Import(t.Context(), strings.NewReader(fleet), inventory.ImportOptions{})
	require.NoError(t, err)
	queue := devtest.TaskQueue(t)
	h, err := host.New(t.Context(), host.Config{
		Client: c, Store: store, Namespace: server.Namespace, TaskQueue: queue, Logger: quiet(), MetricsListen: "127.0.0.1:0",
		Metrics: metrics,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()

	require.Eventually(t, func() bool { return h.MetricsAddress() != "" }, time.Minute, 20*time.Millisecond)
	address := h.MetricsAddress()
	require.Eventually(t, func() bool {
		code, _ := get(address, "/readyz")
		return code == http.StatusOK
	}, time.Minute, 20*time.Millisecond)
	_, err = c.ExecuteWorkflow(t.Context(),
		client.StartWorkflowOptions{ID: runbook.RestoreWorkflowID("r1"), TaskQueue: queue},
		runbook.RestoreWorkflowName, runbook.RestoreInput{RestoreID: "r1"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, body := get(address, "/metrics")
		return strings.Contains(body, `rollcall_devices{restore="r1",state="AwaitingReconnect"} 1`)
	}, time.Minute, 20*time.Millisecond)
	store.DB().MustExec(`update rollcall.roll set held_back = 7`)
	_, body := get(address, "/metrics")
	for _, want := range []string{
		"temporal_workflow_task", `rollcall_human_wait_oldest_seconds{restore="r1"} 0`, "go_goroutines",
		`rollcall_reports_held_back{restore="r1"} 7`,
	} {
		require.Contains(t, body, want)
	}

	require.NoError(t, store.Close())
	code, body := get(address, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code, body)
	code, _ = get(address, "/healthz")
	require.Equal(t, http.StatusOK, code, "a process whose database is away lives, and is not restarted for it")
	code, body = get(address, "/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "rollcall_database_up 0")
	require.NotContains(t, body, "rollcall_devices{", "no stale figure is served")
	require.Contains(t, body, "temporal_workflow_task", "the SDK's own go on")

	cancel()
	require.NoError(t, <-done)
	code, _ = get(address, "/healthz")
	require.Zero(t, code)
}

func TestItIsReadyOnlyWhileTheDatabaseTakesWrites(t *testing.T) {
	t.Parallel()
	devtest.ReadyWhileWritable(t, time.Minute, func(t *testing.T, database string) func(string) (int, string) {
		server := devtest.Temporal(t)
		h, err := host.New(t.Context(), host.Config{
			Client: server.Client(t), Store: open(t, database), Namespace: server.Namespace, Logger: quiet(),
			TaskQueue: devtest.TaskQueue(t), MetricsListen: "127.0.0.1:0",
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			require.NoError(t, <-done)
		})
		return func(path string) (int, string) { return get(h.MetricsAddress(), path) }
	})
}

func get(address, path string) (int, string) {
	response, err := http.Get("http://" + address + path)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(body)
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	server := devtest.Temporal(t)
	h, err := host.New(t.Context(), host.Config{
		Client: server.Client(t), Store: open(t, devtest.Database(t)), Namespace: server.Namespace, Logger: quiet(),
		TaskQueue: devtest.TaskQueue(t), MetricsListen: server.Address,
	})
	require.NoError(t, err)
	require.ErrorContains(t, h.Run(t.Context()), server.Address)
}

func TestNewLogger(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	logger, err := host.NewLogger(&b, "json", "warn")
	require.NoError(t, err)
	logger.Info("not seen")
	logger.Warn("seen", "device", "web-7")
	require.NotContains(t, b.String(), "not seen")
	require.Contains(t, b.String(), `"device":"web-7"`)
	_, err = host.NewLogger(&b, "xml", "")
	require.ErrorContains(t, err, `"xml"`)
	_, err = host.NewLogger(&b, "", "loud")
	require.ErrorContains(t, err, `"loud"`)
}

func TestDialNamesWhatItCannotReach(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := host.Dial(ctx, host.DialOptions{})
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.ErrorContains(t, err, "TEMPORAL_ADDRESS")
}
