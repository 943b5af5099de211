package devenv

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

func (t *Temporal) waitUntilServing(ctx context.Context) error {
	c, err := connect(t.Address(), t.cfg.Namespace)
	if err != nil {
		return err
	}
	defer c.Close()
	return t.server.waitUntil(ctx, func(ctx context.Context) error { return t.serves(ctx, c) })
}

func connect(address, namespace string) (client.Client, error) {
	return connectAs(address, namespace, "")
}

// connectAs is connect with a JWT.
func connectAs(address, namespace, token string) (client.Client, error) {
	silent := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	options := client.Options{HostPort: address, Namespace: namespace, Logger: silent}
	if token != "" {
		options.Credentials = client.NewAPIKeyStaticCredentials(token)
		options.ConnectionOptions.TLSDisabled = true // it is on this machine
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("connect to Temporal: %w", err)
	}
	return c, nil
}

// serves asks for the search attributes, too: the server answers before it has registered them.
func (t *Temporal) serves(ctx context.Context, c client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return err
	}
	there, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: t.cfg.Namespace})
	if err != nil {
		return err
	}
	for _, name := range t.cfg.SearchAttributes {
		if _, ok := there.GetCustomAttributes()[name]; !ok {
			return fmt.Errorf("search attribute %s is not registered yet", name)
		}
	}
	return nil
}
