package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/starter/board"
	"rollcall/starter/printer"
)

type getOptions struct {
	*globals
	selectors
	output *printer.Format
	limit  int
	kind   kind
	names  []string

	sortBy    string
	noHeaders bool
	summary   bool
	// order and columns are sortBy and -o custom-columns, read.
	order   printer.Path
	columns []printer.Column
	audit   auditFlags

	// continueAt is where the list begins, and from the same, read.
	continueAt string
	from       continuation

	watch    bool
	interval time.Duration
}

func newGetCommand(g *globals) *cobra.Command {
	o := &getOptions{globals: g}
	cmd := &cobra.Command{
		Use:   "get (devices|fleets|enrollmentrequests|events|restores|transitions) [NAME...]",
		Short: "Show devices, fleets, enrollment requests, events, restores or the audit",
		Long: `Shows resources of one kind, all of them or those that are named (also as KIND/NAME). As JSON and YAML they are
Flight Control's: a list, or with exactly one name the resource itself. A name that there is not is an error, after the
others were shown.

"transitions" is the audit: every transition and every refusal, the newest last, of all devices
or of those that are named.

With --watch it shows the table until you end it: on a terminal as one screen, elsewhere the whole table
and then each row
that has changed. With -o json each change is the whole object as JSON in one line; one that is gone has "gone": true.
On a terminal a table is cut to the width of the screen; -o wide, and a pipe, show all of it.`,
		Example: `  starter get devices
  starter get devices --field-selector=status.summary.status=AwaitingReconnect
  starter get devices -l environment=production -o wide
  starter get device/web-7 -o yaml
  starter get devices --limit 500 -o json
  starter get events --field-selector=involvedObject.name=web-7 --limit 20
  starter get devices --sort-by=.status.lastSeen --no-headers
  starter get devices -o custom-columns=NAME:.metadata.name,IMAGE:.status.os.image
  starter get transitions web-7
  starter get transitions --refused --since 1h
  starter get restores
  starter get devices --field-selector=status.summary.status=ConflictPaused --watch`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completeTargets(kinds...),
	}
	o.selectors.bind(cmd)
	cmd.Flags().IntVar(&o.limit, "limit", 0, "show at most so `many` (0: all)")
	o.output = printer.BindFormat(cmd, printer.FormatWide, printer.FormatJSON, printer.FormatYAML, printer.FormatName,
		printer.FormatJSONPath, printer.FormatColumns)
	cmd.Flags().StringVar(&o.sortBy, "sort-by", "", "sort by a `field`, such as .metadata.creationTimestamp")
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave out the header of the table")
	cmd.Flags().BoolVar(&o.summary, "summary", false, "count the devices by the status of their summary")
	cmd.Flags().StringVar(&o.continueAt, "continue", "",
		"read on where an earlier list with --limit ended: the `value` of its metadata.continue")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "show what changes, until Ctrl-C")
	cmd.Flags().DurationVar(&o.interval, "interval", board.Interval, "with --watch: how often to look")
	o.audit.bind(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		if err := o.complete(cmd, args); err != nil {
			return err
		}
		return o.run(ctx)
	})
	return cmd
}

func (o *getOptions) complete(cmd *cobra.Command, args []string) error {
	k, names, err := parseTarget(args, append(slices.Clone(kinds), restoreKind, transitionKind)...)
	if err != nil {
		return err
	}
	o.kind, o.names = k, distinct(names)
	if err := o.completeOutput(); err != nil {
		return err
	}
	if err := o.completeWatch(cmd.Flags().Changed("interval")); err != nil {
		return err
	}
	if k.ours() {
		return o.completeOurs()
	}
	if o.audit.given() {
		return usagef("--restore, --by, --since and --refused are for `get transitions`")
	}
	if o.limit < 0 {
		return usagef("--limit %d: use 0 or more", o.limit)
	}
	if err := o.completeContinue(); err != nil {
		return err
	}
	return o.selectors.complete(cmd, k)
}

func (o *getOptions) run(ctx context.Context) error {
	store, orgID, err := o.openOrg(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if o.watch {
		return o.follow(ctx, store, orgID)
	}
	if o.kind.ours() {
		return o.runOurs(ctx, store, orgID)
	}
	q, found, err := o.read(ctx, store, orgID)
	if err != nil {
		return err
	}
	if o.summary {
		headers, rows, err := summaryRows(ctx, store, orgID, found)
		if err != nil {
			return err
		}
		return printer.AtOnce(o.io.Stdout, func(w io.Writer) error { return o.table(w, headers, rows) })
	}
	if o.output.Machine() && found.object == inventory.KindEnrollmentRequest {
		if err := printer.WithKeys(ctx, store, q, found.items); err != nil {
			return err
		}
	}
	missing := o.missing(found)
	if err := o.print(ctx, store, q, found, len(missing)); err != nil {
		return err
	}
	if found.next != "" && !o.output.Machine() {
		fmt.Fprintf(o.io.Stderr, "there are more: go on with --continue %s\n", found.next)
	}
	return errors.Join(missing...)
}

// read reads what was asked for, in the order that was asked for.
func (o *getOptions) read(
	ctx context.Context, store *inventory.Store, orgID string,
) (inventory.Query, resources, error) {
	q := o.selectors.query(orgID, o.names)
	q.Limit = o.limit
	switch {
	case o.sortBy != "":
		q.Limit = 0 // the first ones of another order
	case o.limit > 0:
		q.Limit++ // are there more?
	}
	q.After, q.AfterTime = o.from.Name, o.from.At
	q.Brief = o.sortBy == "" && (o.output.Value == printer.FormatText || o.output.Value == printer.FormatName)
	found, err := o.kind.read(ctx, store, q)
	switch {
	case err != nil:
	case o.sortBy != "":
		err = found.sort(o.order, o.limit)
	case o.limit > 0:
		q.Limit = o.limit
		err = found.cut(o.limit)
	}
	return q, found, err
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

func (o *getOptions) print(
	ctx context.Context, store *inventory.Store, q inventory.Query, found resources, missing int,
) error {
	switch {
	case o.output.Machine() && len(o.names) == 1:
		if found.len() == 0 {
			return nil
		}
		return o.output.Print(o.io.Stdout, found.first(), nil)
	case o.output.Machine():
		return o.output.Print(o.io.Stdout, found.list(), nil)
	case o.output.Value == printer.FormatJSONPath && len(o.names) == 1 && found.len() == 1:
		return printer.JSONPath(o.io.Stdout, o.output.Template, found.first())
	case o.output.Value == printer.FormatJSONPath:
		return printer.JSONPath(o.io.Stdout, o.output.Template, found.list())
	case found.len() == 0:
		if missing == 0 {
			fmt.Fprintln(o.io.Stderr, "no "+o.kind.plural+" found")
		}
		return nil
	}
	return printer.AtOnce(o.io.Stdout, func(w io.Writer) error {
		if o.output.Value == printer.FormatName {
			for _, name := range found.names() {
				fmt.Fprintf(w, "%s/%s\n", o.kind.singular, name)
			}
			return nil
		}
		headers, rows, err := o.rows(ctx, store, q, found)
		if err != nil {
			return err
		}
		return o.table(w, headers, rows)
	})
}

// rows are the table of what was read.
func (o *getOptions) rows(
	ctx context.Context, store *inventory.Store, q inventory.Query, found resources,
) (headers []string, rows [][]string, err error) {
	if o.columns != nil {
		objects, err := found.objects()
		if err != nil {
			return nil, nil, err
		}
		headers, rows = printer.ColumnRows(o.columns, objects)
		return headers, rows, nil
	}
	wide, now := o.output.Value == printer.FormatWide, o.io.Now()
	switch found.object {
	case inventory.KindEvent:
		headers, rows = printer.EventRows(now, wide, found.events)
	case inventory.KindFleet:
		headers, rows = printer.FleetRows(found.items)
	case inventory.KindEnrollmentRequest:
		return printer.RequestRows(ctx, store, q, now, wide, found.items)
	default:
		withdrawn, err := printer.Withdrawn(ctx, store, q.OrgID, found.items)
		if err != nil {
			return nil, nil, err
		}
		headers, rows = printer.DeviceRows(now, found.items, withdrawn)
		if wide {
			return printer.WidenDevices(ctx, store, now, q, found.items, headers, rows)
		}
	}
	return headers, rows, nil
}
