package board

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rollcall/starter/printer"
)

// Table is a table at one moment.
type Table struct {
	Headers []string
	Rows    [][]string
	// Objects are, in place of rows, what Rows.JSON writes. They are as printer.Objects returns them.
	Objects []any
	// Keys tell which row or object is which; nil is a table to which rows are only added.
	Keys []string
}

// Rows shows a table until ctx ends: on a terminal as one screen, elsewhere first all of it and then each row that
// has changed.
type Rows struct {
	IO printer.IO
	// Every is how often to look; 0 is Interval.
	Every time.Duration
	// What the rows are, in the plural.
	What string
	// JSON writes a line of JSON for each object that has changed, in place of a table. One that is gone is written with
	// its Kind and its key alone.
	JSON bool
	Kind string
	// NoHeaders leaves out the header, and Whole lets rows be wider than a screen.
	NoHeaders, Whole bool
	// Read reads the table as it is now.
	Read func(ctx context.Context) (Table, error)

	columns printer.Columns
	// seen is what was written of each row last.
	seen   map[string]string
	screen *printer.Screen
}

// Run returns when ctx ends, which is no error, or when the table cannot be read for a while.
func (r *Rows) Run(ctx context.Context) error {
	if !r.JSON && printer.CanDraw(r.IO) {
		r.screen = printer.NewScreen(r.IO)
		defer r.screen.Close()
	}
	tick := time.NewTicker(cmp.Or(r.Every, Interval))
	defer tick.Stop()
	var away time.Time
	for {
		t, err := r.Read(ctx)
		switch now := r.IO.Now(); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			away = time.Time{}
			if err := r.show(t); err != nil {
				return err
			}
		case away.IsZero() && r.seen == nil:
			return err // it has never been read
		case away.IsZero():
			away = now
		case now.Sub(away) > outagePatience:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *Rows) show(t Table) error {
	if r.JSON {
		return r.lines(t)
	}
	if r.screen != nil {
		r.seen = map[string]string{}
		return r.draw(t)
	}
	changed := r.changed(t)
	headers := t.Headers
	if r.seen != nil || r.NoHeaders {
		headers = nil
	}
	if r.seen == nil {
		r.seen = map[string]string{}
	}
	for i, row := range t.Rows {
		r.seen[t.key(i)] = t.lasting(row)
	}
	return printer.AtOnce(r.IO.Stdout, func(w io.Writer) error { return r.columns.Write(w, headers, changed) })
}

// changed are the rows that are not as they were written last, and at the end those that are gone.
func (r *Rows) changed(t Table) (changed [][]string) {
	there := map[string]bool{}
	for i, row := range t.Rows {
		key := t.key(i)
		there[key] = true
		if before, ok := r.seen[key]; !ok || before != t.lasting(row) {
			changed = append(changed, row)
		}
	}
	for _, key := range r.gone(t, there) {
		changed = append(changed, []string{key, "<gone>"})
	}
	return changed
}

// gone forgets what was written and is no longer there, and returns its keys.
func (r *Rows) gone(t Table, there map[string]bool) (gone []string) {
	if t.Keys == nil {
		return nil
	}
	for key := range r.seen {
		if !there[key] {
			gone = append(gone, key)
			delete(r.seen, key)
		}
	}
	slices.Sort(gone)
	return gone
}

func (t Table) key(i int) string {
	if t.Keys == nil {
		return t.lasting(t.Rows[i])
	}
	return t.Keys[i]
}

// passing are the columns that change with time alone.
var passing = []string{"AGE", "LAST SEEN", "STARTED"}

// lasting is what of a row does not change by itself.
func (t Table) lasting(row []string) string {
	var cells []string
	for k, cell := range row {
		if k >= len(t.Headers) || !slices.Contains(passing, t.Headers[k]) {
			cells = append(cells, cell)
		}
	}
	return strings.Join(cells, "\x00")
}

// draw shows as many rows as fit, the last ones where rows are only added.
func (r *Rows) draw(t Table) error {
	headers := t.Headers
	if r.NoHeaders {
		headers = nil
	}
	return r.screen.Draw(len(t.Rows), func(w io.Writer, rows int) error {
		shown, left := t.Rows, len(t.Rows)-rows
		if t.Keys == nil {
			shown = shown[left:]
		}
		out := w
		if r.Whole {
			out = printer.Whole(w)
		}
		err := printer.Table(out, headers, shown[:rows])
		more := ""
		if left > 0 {
			more = fmt.Sprintf(", %d more do not fit the screen", left)
		}
		_, footErr := fmt.Fprintf(w, "\n%s  %d %s%s. Ctrl-C ends the watch.\n", clock(r.IO.Now()), len(t.Rows), r.What, more)
		return errors.Join(err, footErr)
	})
}
