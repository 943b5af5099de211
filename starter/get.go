package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"rollcall/inventory"
)

type getOptions struct {
	*globals
	selectors
	output *format
	limit  int
	kind   kind
	names  []string
}

func newGetCommand(g *globals) *cobra.Command {
	o := &getOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "get (devices|fleets|enrollmentrequests|events) [NAME...]",
		Short: "Show devices, fleets, enrollment requests or events",
		Long: `Shows resources of one kind, all of them or those that are named (also as KIND/NAME). As JSON and YAML they are Flight
Control's: a list, or with exactly one name the resource itself. A name that there is not is an error, after the others were
shown.`,
		Example: `  starter get devices
  starter get devices --field-selector=status.summary.status=AwaitingReconnect
  starter get devices -l environment=production -o wide
  starter get device/web-7 -o yaml
  starter get events --field-selector=involvedObject.name=web-7 --limit 20`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(kinds...),
	}
	o.selectors.bind(cmd)
	cmd.Flags().IntVar(&o.limit, "limit", 0, "show at most so `many` (0: all)")
	o.output = bindFormat(cmd, outputWide, outputJSON, outputYAML, outputName)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if err := o.complete(cmd, args); err != nil {
			return err
		}
		return o.run(ctx)
	})
	return cmd
}

func (o *getOptions) complete(cmd *cobra.Command, args []string) error {
	k, names, err := parseTarget(args, kinds...)
	if err != nil {
		return err
	}
	o.kind, o.names = k, distinct(names)
	if o.limit < 0 {
		return usagef("--limit %d: use 0 or more", o.limit)
	}
	return o.selectors.complete(cmd, k)
}

func (o *getOptions) run(ctx context.Context) error {
	store, err := o.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	orgID, err := o.orgID(ctx, store)
	if err != nil {
		return err
	}
	q := o.selectors.query(orgID, o.names)
	q.Limit, q.Brief = o.limit, o.output.value == outputText || o.output.value == outputName
	found, err := o.kind.read(ctx, store, q)
	if err != nil {
		return err
	}
	if o.output.machine() && found.object == inventory.KindEnrollmentRequest {
		if err := withKeys(ctx, store, q, found.items); err != nil {
			return err
		}
	}
	missing := o.missing(found)
	if err := o.print(ctx, store, q, found, len(missing)); err != nil {
		return err
	}
	return errors.Join(missing...)
}

// missing is an error for each name that was asked for and not found. A limit or a selector may well have kept one out.
func (o *getOptions) missing(found resources) []error {
	if o.limit > 0 && found.len() == o.limit {
		return nil
	}
	var missing []error
	for _, name := range o.names {
		switch {
		case slices.Contains(found.names(), name):
		case o.selectors.given():
			missing = append(missing, fmt.Errorf("%s %q: there is none that the selector selects", o.kind.singular, name))
		default:
			missing = append(missing, fmt.Errorf("%s %q: not found", o.kind.singular, name))
		}
	}
	return missing
}

func (o *getOptions) print(ctx context.Context, store *inventory.Store, q inventory.Query, found resources, missing int) error {
	switch {
	case o.output.machine() && len(o.names) == 1:
		if found.len() == 0 {
			return nil
		}
		return o.output.print(o.io.Stdout, found.first(), nil)
	case o.output.machine():
		return o.output.print(o.io.Stdout, found.list(), nil)
	case found.len() == 0:
		if missing == 0 {
			fmt.Fprintln(o.io.Stderr, "no "+o.kind.plural+" found")
		}
		return nil
	}
	return atOnce(o.io.Stdout, func(w io.Writer) error {
		if o.output.value == outputName {
			for _, name := range found.names() {
				fmt.Fprintf(w, "%s/%s\n", o.kind.singular, name)
			}
			return nil
		}
		headers, rows, err := o.rows(ctx, store, q, found)
		if err != nil {
			return err
		}
		return table(w, headers, rows)
	})
}
