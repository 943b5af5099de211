package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"rollcall/inventory"
	"rollcall/runbook"
	"rollcall/starter/board"
	"rollcall/starter/printer"
)

// auditFlags choose entries of the audit.
type auditFlags struct {
	restore, by string
	since       time.Duration
	refused     bool
}

func (f *auditFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.restore, "restore", "", "transitions: those of the restore of this `id`")
	cmd.Flags().StringVar(&f.by, "by", "", "transitions: those of this `actor`")
	cmd.Flags().DurationVar(&f.since, "since", 0, "transitions: those that are not older than this")
	cmd.Flags().BoolVar(&f.refused, "refused", false, "transitions: refusals only")
}

func (f auditFlags) given() bool { return f != auditFlags{} }

// completeOutput reads the flags that say how to show things.
func (o *getOptions) completeOutput() error {
	if o.sortBy != "" {
		var err error
		if o.order, err = printer.ParsePath(o.sortBy); err != nil {
			return usagef("--sort-by: %w", err)
		}
	}
	if o.output.Value == printer.FormatColumns {
		var err error
		if o.columns, err = printer.ParseColumns(o.output.Template); err != nil {
			return usagef("%w", err)
		}
	}
	if o.summary && (o.kind.object != deviceKind.object || o.output.Value != printer.FormatText) {
		return usagef("--summary counts devices: use it with `get devices` and without -o")
	}
	return nil
}

// completeOurs refuses what restores and transitions do not have.
func (o *getOptions) completeOurs() error {
	switch {
	case o.label+o.field != "":
		return usagef("%s have no labels and no fields to select by", o.kind.plural)
	case o.limit < 0:
		return usagef("--limit %d: use 0 or more", o.limit)
	case o.continueAt != "":
		return usagef("%s are not read in parts: use --limit and --since", o.kind.plural)
	case o.kind.object == restoreKind.object && o.audit.given():
		return usagef("--restore, --by, --since and --refused are for `get transitions`")
	case o.audit.since < 0:
		return usagef("--since %s: use more than nothing", o.audit.since)
	case o.output.Value == printer.FormatName && o.kind.object == transitionKind.object:
		return usagef("transitions have no names")
	}
	return nil
}

// table writes a table with or without its header.
func (o *getOptions) table(w io.Writer, headers []string, rows [][]string) error {
	if o.noHeaders {
		headers = nil
	}
	if o.output.Value == printer.FormatWide {
		w = printer.Whole(w)
	}
	return printer.Table(w, headers, rows)
}

// summaryRows count devices by the status of their summary.
func summaryRows(
	ctx context.Context, store *inventory.Store, orgID string, found resources,
) (headers []string, rows [][]string, err error) {
	withdrawn, err := printer.Withdrawn(ctx, store, orgID, found.items)
	if err != nil {
		return nil, nil, err
	}
	counts := map[string]int{}
	for _, d := range found.items {
		counts[printer.OrNone(printer.System(d, withdrawn))]++
	}
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		rows = append(rows, []string{status, strconv.Itoa(counts[status])})
	}
	return []string{"SYSTEM", "DEVICES"}, append(rows, []string{"total", strconv.Itoa(found.len())}), nil
}

// continuation is where a list goes on: behind the resource of this name, and of events behind the one made at At.
type continuation struct {
	Kind string    `json:"kind"`
	Name string    `json:"name"`
	At   time.Time `json:"at,omitzero"`
}

// encode is the continuation as --continue takes it.
func (c continuation) encode() (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write where the list goes on: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

// completeContinue reads --continue.
func (o *getOptions) completeContinue() error {
	switch {
	case o.continueAt == "":
		return nil
	case len(o.names) > 0, o.sortBy != "", o.watch, o.summary:
		return usagef("--continue reads a list on in its own order: use it without names, --sort-by, --summary and --watch")
	}
	text, err := base64.RawURLEncoding.DecodeString(o.continueAt)
	if err == nil {
		err = json.Unmarshal(text, &o.from)
	}
	if err != nil || o.from.Name == "" || o.from.Kind != o.kind.plural {
		return usagef("--continue %q is not where a list of %s goes on: use the metadata.continue of an earlier list",
			printer.OneLine(o.continueAt), o.kind.plural)
	}
	return nil
}

// cut keeps the first limit resources, and notes where the others begin.
func (r *resources) cut(limit int) (err error) {
	switch {
	case len(r.items) > limit:
		r.items = r.items[:limit]
		r.next, err = continuation{Kind: r.plural(), Name: r.items[limit-1].Metadata.Name}.encode()
	case len(r.events) > limit:
		r.events = r.events[:limit]
		last := continuation{Kind: eventKind.plural, Name: r.events[limit-1].Metadata.Name}
		if at := r.events[limit-1].Metadata.CreationTimestamp; at != nil {
			last.At = *at
		}
		r.next, err = last.encode()
	}
	return err
}

// plural is the word for resources of this kind.
func (r *resources) plural() string {
	for _, k := range kinds {
		if k.object == r.object {
			return k.plural
		}
	}
	return ""
}

// completeWatch refuses what cannot be watched.
func (o *getOptions) completeWatch(interval bool) error {
	switch {
	case interval && !o.watch:
		return usagef("--interval says how often --watch looks: use both")
	case o.interval < leastInterval:
		return usagef("--interval %s: use %s or more", o.interval, leastInterval)
	case o.watch && o.columns == nil && !slices.Contains(watchFormats, o.output.Value):
		return usagef("--watch shows tables, or with -o json a line of JSON for each change: " +
			"use it without -o, or with -o json, -o wide or -o custom-columns=...")
	}
	return nil
}

// watchFormats are the formats of --watch, beside columns of one's own.
var watchFormats = []string{printer.FormatText, printer.FormatWide, printer.FormatJSON}

// follow shows the table until the operator has seen enough.
func (o *getOptions) follow(ctx context.Context, store *inventory.Store, orgID string) error {
	rows := board.Rows{
		IO: o.io, Every: o.interval, What: o.kind.plural, Kind: o.kind.object, JSON: o.output.Value == printer.FormatJSON,
		NoHeaders: o.noHeaders, Whole: o.output.Value == printer.FormatWide,
		Read: func(ctx context.Context) (board.Table, error) { return o.watched(ctx, store, orgID) },
	}
	return rows.Run(ctx)
}

// watched is the table as it is now. The rows of things that have names have these as their keys.
func (o *getOptions) watched(ctx context.Context, store *inventory.Store, orgID string) (t board.Table, err error) {
	switch o.kind.object {
	case restoreKind.object:
		restores, err := o.restores(ctx, store, orgID)
		if err != nil {
			return t, err
		}
		for _, r := range restores {
			t.Keys = append(t.Keys, r.RestoreID)
		}
		err = watchedOurs(o, &t, restores, o.restoreRows)
		return t, err
	case transitionKind.object:
		entries, err := o.transitions(ctx, store, orgID)
		if err != nil {
			return t, err
		}
		err = watchedOurs(o, &t, entries, printer.TransitionRows)
		return t, err
	}
	q, found, err := o.read(ctx, store, orgID)
	switch {
	case err != nil:
		return t, err
	case o.summary:
		t.Headers, t.Rows, err = summaryRows(ctx, store, orgID, found)
		return t, err
	}
	t.Keys = found.names()
	if o.output.Machine() {
		if found.object == inventory.KindEnrollmentRequest {
			err = printer.WithKeys(ctx, store, q, found.items)
		}
		if err == nil {
			t.Objects, err = found.objects()
		}
		return t, err
	}
	t.Headers, t.Rows, err = o.rows(ctx, store, q, found)
	return t, err
}

// watchedOurs puts restores or entries of the audit into the table.
func watchedOurs[T any](o *getOptions, t *board.Table, list []T, rows func([]T) ([]string, [][]string)) (err error) {
	if o.output.Machine() {
		t.Objects, err = printer.Objects(list)
		return err
	}
	t.Headers, t.Rows, err = oursRows(o, list, rows)
	return err
}

// runOurs shows restores or the audit.
func (o *getOptions) runOurs(ctx context.Context, store *inventory.Store, orgID string) error {
	if o.kind.object == restoreKind.object {
		restores, err := o.restores(ctx, store, orgID)
		if err != nil {
			return err
		}
		return showOurs(o, restores, o.restoreRows, func(r runbook.RestoreStatus) string { return r.RestoreID })
	}
	entries, err := o.transitions(ctx, store, orgID)
	if err != nil {
		return err
	}
	return showOurs(o, entries, printer.TransitionRows, func(r inventory.TransitionRow) string { return r.Name })
}

// restores reads the restores that were asked for.
func (o *getOptions) restores(
	ctx context.Context, store *inventory.Store, orgID string,
) ([]runbook.RestoreStatus, error) {
	scope := ""
	if o.org != "" {
		scope = orgID
	}
	restores, err := store.RestoresIn(ctx, scope, o.limit)
	if len(o.names) > 0 {
		restores = slices.DeleteFunc(restores,
			func(r runbook.RestoreStatus) bool { return !slices.Contains(o.names, r.RestoreID) })
	}
	return restores, err
}

func (o *getOptions) restoreRows(restores []runbook.RestoreStatus) ([]string, [][]string) {
	return printer.RestoreRows(o.io.Now(), restores)
}

// transitions reads the entries of the audit that were asked for.
func (o *getOptions) transitions(
	ctx context.Context, store *inventory.Store, orgID string,
) ([]inventory.TransitionRow, error) {
	q := inventory.AuditQuery{
		OrgID: orgID, Names: o.names, RestoreID: o.audit.restore, Actor: o.audit.by, Refused: o.audit.refused, Limit: o.limit,
	}
	if o.audit.since > 0 {
		q.Since = o.io.Now().Add(-o.audit.since)
	}
	return store.Audit(ctx, q)
}

// oursRows are the table of a list, sorted as was asked for.
func oursRows[T any](
	o *getOptions, list []T, rows func([]T) ([]string, [][]string),
) (headers []string, cells [][]string, err error) {
	if o.sortBy != "" {
		if err := printer.SortBy(list, o.order); err != nil {
			return nil, nil, err
		}
	}
	if o.columns == nil {
		headers, cells = rows(list)
		return headers, cells, nil
	}
	objects, err := printer.Objects(list)
	if err != nil {
		return nil, nil, err
	}
	headers, cells = printer.ColumnRows(o.columns, objects)
	return headers, cells, nil
}

// showOurs shows a list in the format that was asked for.
func showOurs[T any](o *getOptions, list []T, rows func([]T) ([]string, [][]string), name func(T) string) error {
	headers, cells, err := oursRows(o, list, rows)
	if err != nil {
		return err
	}
	items := struct {
		Items []T `json:"items"`
	}{list}
	switch {
	case o.output.Machine():
		return o.output.Print(o.io.Stdout, items, nil)
	case o.output.Value == printer.FormatJSONPath:
		return printer.JSONPath(o.io.Stdout, o.output.Template, items)
	case len(list) == 0:
		fmt.Fprintln(o.io.Stderr, "no "+o.kind.plural+" found")
		return nil
	}
	return printer.AtOnce(o.io.Stdout, func(w io.Writer) error {
		if o.output.Value == printer.FormatName {
			for _, item := range list {
				fmt.Fprintf(w, "%s/%s\n", o.kind.singular, printer.OneLine(name(item)))
			}
			return nil
		}
		return o.table(w, headers, cells)
	})
}
