package devenv

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// retention of closed workflows; the development server's, too.
const retention = 24 * time.Hour

// registrationReach is how long until all services know what is registered: each reads the namespaces once a second.
const registrationReach = 2 * time.Second

func (t *TemporalOnPostgres) waitUntilServing(ctx context.Context) error {
	if err := t.waitUntilHealthy(ctx); err != nil {
		return err
	}
	c, err := connectAs(t.Address(), t.cfg.Namespace, t.cfg.Token)
	if err != nil {
		return err
	}
	defer c.Close()
	changed, err := t.register(ctx, c)
	if err != nil {
		return fmt.Errorf("prepare namespace %s: %w%s", t.cfg.Namespace, err, t.log)
	}
	if !changed {
		return nil
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("prepare namespace %s: %w", t.cfg.Namespace, ctx.Err())
	case <-time.After(registrationReach):
		return nil
	}
}

// register creates what the namespace lacks, or the namespace, and reports whether it lacked anything.
func (t *TemporalOnPostgres) register(ctx context.Context, c client.Client) (bool, error) {
	_, err := c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: t.cfg.Namespace, WorkflowExecutionRetentionPeriod: durationpb.New(retention),
	})
	var there *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &there) {
		return false, fmt.Errorf("register: %w", err)
	}
	created := err == nil
	added, err := t.addAttributes(ctx, c)
	return created || added, err
}

func (t *TemporalOnPostgres) addAttributes(ctx context.Context, c client.Client) (bool, error) {
	known, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: t.cfg.Namespace})
	if err != nil {
		return false, fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for _, name := range t.cfg.SearchAttributes {
		if _, ok := known.GetCustomAttributes()[name]; !ok {
			missing[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	if _, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: t.cfg.Namespace, SearchAttributes: missing,
	}); err != nil {
		return false, fmt.Errorf("register search attributes: %w", err)
	}
	return true, nil
}
