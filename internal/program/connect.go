package program

import (
	"context"
	"errors"

	"go.temporal.io/sdk/client"

	"rollcall/internal/host"
	"rollcall/inventory"
)

// Connections are what a program works on.
type Connections struct {
	Store    *inventory.Store
	Temporal client.Client
	Metrics  *host.Metrics
}

// Connect opens the inventory and connects to Temporal; lazy leaves the connection to Temporal to the first call. The
// caller closes it.
func (c Common) Connect(ctx context.Context, lazy bool) (*Connections, error) {
	url, err := host.DatabaseURL()
	if err != nil {
		return nil, err
	}
	store, err := inventory.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	metrics, err := host.NewMetrics()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	temporal, err := host.Dial(ctx, host.DialOptions{Logger: c.Logger, Metrics: metrics.ForTemporal(c.Logger), Lazy: lazy})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &Connections{Store: store, Temporal: temporal, Metrics: metrics}, nil
}

// Close closes both connections.
func (c *Connections) Close() error {
	c.Temporal.Close()
	return c.Store.Close()
}
