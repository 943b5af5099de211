package main

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func TestRequestsGoToAllFrontendsByTurns(t *testing.T) {
	t.Parallel()
	var addresses []string
	asked := make([]atomic.Int32, 3)
	for i := range asked {
		addresses = append(addresses, serveHealth(t, &asked[i]))
	}
	c, err := client.NewLazyClient(temporalAt(strings.Join(addresses, ",")))
	require.NoError(t, err)
	defer c.Close()
	// A connection that is not there yet is left out.
	require.Eventually(t, func() bool {
		_, err := c.CheckHealth(t.Context(), &client.CheckHealthRequest{})
		return err == nil && asked[0].Load() > 0 && asked[1].Load() > 0 && asked[2].Load() > 0
	}, 2*time.Minute, 10*time.Millisecond)
	for i := range asked {
		asked[i].Store(0)
	}
	for range 30 {
		_, err := c.CheckHealth(t.Context(), &client.CheckHealthRequest{})
		require.NoError(t, err)
	}
	for i := range asked {
		require.InDelta(t, 10, asked[i].Load(), 2, "a connection that is made again begins another round")
	}
}

func serveHealth(t *testing.T, asked *atomic.Int32) (address string) {
	t.Helper()
	count := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if info.FullMethod == grpc_health_v1.Health_Check_FullMethodName {
			asked.Add(1)
		}
		return handle(ctx, req)
	}
	server, frontend := grpc.NewServer(grpc.UnaryInterceptor(count)), health.NewServer()
	frontend.SetServingStatus("temporal.api.workflowservice.v1.WorkflowService",
		grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, frontend)
	workflowservice.RegisterWorkflowServiceServer(server, stub{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(listener) //nolint:errcheck // ends with the test
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// stub answers what a client asks for first.
type stub struct {
	workflowservice.UnimplementedWorkflowServiceServer
}

func (stub) GetSystemInfo(
	context.Context, *workflowservice.GetSystemInfoRequest,
) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}
