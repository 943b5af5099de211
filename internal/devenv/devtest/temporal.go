package devtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"rollcall/internal/devenv"
	"rollcall/runbook"
)

// Server is where a test finds Temporal.
type Server struct {
	// Address is host:port, as for TEMPORAL_ADDRESS.
	Address string
	// Namespace is the test's own, so that workflow ids of other tests are not in its way.
	Namespace string
}

// Temporal gives the test a namespace with Rollcall's search attributes on a Temporal server.
func Temporal(t testing.TB) Server {
	t.Helper()
	return namespace(t, runbook.SearchAttributes)
}

// EmptyTemporal gives the test a namespace without search attributes of ours.
func EmptyTemporal(t testing.TB) Server {
	t.Helper()
	return namespace(t, nil)
}

// Client connects to the server, with options that edits have changed. It logs nothing, and is closed after the test.
func (s Server) Client(t testing.TB, edits ...func(*client.Options)) client.Client {
	t.Helper()
	options := client.Options{
		HostPort:  s.Address,
		Namespace: s.Namespace,
		Identity:  "rollcall-test", // histories are recorded, and name no machine
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	}
	for _, edit := range edits {
		edit(&options)
	}
	c, err := client.Dial(options)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// TaskQueue is a name for a task queue that no other test uses.
func TaskQueue(t testing.TB) string {
	t.Helper()
	return newName(strings.ReplaceAll(t.Name(), "/", "-"))
}

var temporal = sync.OnceValues(func() (string, error) {
	if address := os.Getenv(EnvTemporalAddress); address != "" {
		return address, nil
	}
	server, err := devenv.StartTemporal(context.Background(), devenv.TemporalConfig{UIPort: devenv.NoUI})
	if err != nil {
		return "", err
	}
	atEnd.add(server.Stop)
	return server.Address(), nil
})

// namespaceLimit is for a server that notices a new namespace only when it refreshes its cache.
const namespaceLimit = 30 * time.Second

func namespace(t testing.TB, attributes []string) Server {
	t.Helper()
	address, err := temporal()
	require.NoError(t, err)
	s := Server{Address: address, Namespace: newName("test")}
	c := s.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), namespaceLimit)
	defer cancel()
	_, err = c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace:                        s.Namespace,
		WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		err = addAttributes(ctx, c, s.Namespace, attributes)
		return err == nil
	}, namespaceLimit, 10*time.Millisecond, "the namespace cannot be used")
	return s
}

// addAttributes adds those that are missing, and fails as long as one is not there.
func addAttributes(ctx context.Context, c client.Client, namespace string, names []string) error {
	there, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range names {
		if _, ok := there.GetCustomAttributes()[name]; !ok {
			missing[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx,
		&operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	if err != nil {
		return fmt.Errorf("add search attributes: %w", err)
	}
	return fmt.Errorf("%d search attributes were missing", len(missing))
}
