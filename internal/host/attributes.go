package host

import (
	"context"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"rollcall/runbook"
)

// EnsureSearchAttributes registers those of runbook.SearchAttributes that the namespace lacks, and waits until the
// server knows them. Where it may not, the error gives the command that someone who may can type.
func EnsureSearchAttributes(ctx context.Context, c client.Client, namespace string) error {
	missing, err := missingAttributes(ctx, c, namespace)
	if err != nil || len(missing) == 0 {
		return err
	}
	add := map[string]enumspb.IndexedValueType{}
	for _, name := range missing {
		add[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	}
	if _, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: add,
	}); err != nil {
		return fmt.Errorf("register search attributes: %w; someone who may can do it with: %s", err,
			createCommand(namespace, missing))
	}
	return awaitAttributes(ctx, c, namespace)
}

// awaitAttributes polls until a registration has reached the server that answers; other workers may have registered
// too.
func awaitAttributes(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		missing, err := missingAttributes(ctx, c, namespace)
		if err != nil || len(missing) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("search attributes %s were registered but the server does not show them yet: %w",
				strings.Join(missing, ", "), ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// missingAttributes lists what the namespace lacks. One that exists with another type is an error: no value of ours
// could be stored in it.
func missingAttributes(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	known, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil,
			fmt.Errorf("list search attributes of namespace %s: %w; if they are there already, start with "+
				"--skip-search-attributes", namespace, err)
	}
	var missing []string
	for _, name := range runbook.SearchAttributes {
		kind, ok := known.GetCustomAttributes()[name]
		switch {
		case !ok:
			missing = append(missing, name)
		case kind != enumspb.INDEXED_VALUE_TYPE_KEYWORD:
			return nil,
				fmt.Errorf("search attribute %s of namespace %s is a %s and must be a Keyword; remove it with: temporal operator "+
					"search-attribute remove --namespace %s --name %s",
					name, namespace, kind, namespace, name)
		}
	}
	return missing, nil
}

func createCommand(namespace string, names []string) string {
	command := "temporal operator search-attribute create --namespace " + namespace
	for _, name := range names {
		command += " --name " + name + " --type Keyword"
	}
	return command
}
