package board

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"rollcall/inventory"
	"rollcall/inventory/overview"
	"rollcall/runbook"
	"rollcall/starter/printer"
)

const (
	// Interval is how often a roll call is looked at, unless --interval says otherwise.
	Interval = 2 * time.Second
	// listRows is how many devices each list of a board has at most.
	listRows = 10
	// warnInterval is how often it is asked whether anything goes on.
	warnInterval = 15 * time.Second
	// outagePatience is how long the database may be away before the watch ends.
	outagePatience = time.Minute
)

// Read reads the board of a restore. An empty orgID is all organisations.
func Read(ctx context.Context, store *inventory.Store, now func() time.Time, id, orgID, warning string) (Board, error) {
	status, err := store.RestoreStatusIn(ctx, id, orgID)
	if err != nil {
		return Board{}, fmt.Errorf("read the tally of restore %q: %w", id, err)
	}
	o, err := overview.Read(ctx, store, overview.Query{RestoreID: id, OrgID: cmp.Or(orgID, status.OrgID), Rows: listRows})
	if err != nil {
		return Board{}, err
	}
	return New(now(), status, o, warning, orgID), nil
}

// Follow shows a roll call until it ends, until a human is needed, or until ctx ends.
type Follow struct {
	IO printer.IO
	// Every is how often to look; 0 is Interval.
	Every time.Duration
	// JSON writes a line of JSON for each change.
	JSON bool
	// UntilHuman ends when a human is needed.
	UntilHuman bool
	// Read reads the board. warning is what Warn said last.
	Read func(ctx context.Context, warning string) (Board, error)
	// Warn says why nothing goes on, or nothing.
	Warn func(ctx context.Context) string

	screen *printer.Screen
	// told is what was written last, and when.
	told   string
	toldAt time.Time
	// warning is what Warn said last, and warned how often in a row it has said something.
	warning  string
	warned   int
	warnedAt time.Time
	// away is since when the database has not answered.
	away time.Time
}

// Run returns the last board, and why a human is needed where that ended it. Ending ctx is the usual end of a watch
// and no error.
func (f *Follow) Run(ctx context.Context) (last Board, human string, err error) {
	if !f.JSON && printer.CanDraw(f.IO) {
		f.screen = printer.NewScreen(f.IO)
		defer f.screen.Close()
	}
	tick := time.NewTicker(cmp.Or(f.Every, Interval))
	defer tick.Stop()
	for {
		b, err := f.look(ctx)
		switch {
		case ctx.Err() != nil:
			return last, "", nil
		case err != nil:
			return last, "", err
		case b != nil:
			last = *b
			if human = f.human(last); human != "" || last.State != runbook.RestoreRunning {
				return last, human, f.show(last, true)
			}
			if err := f.show(last, false); err != nil {
				return last, "", err
			}
		}
		select {
		case <-ctx.Done():
			return last, "", nil
		case <-tick.C:
		}
	}
}

// Human looks once, and says why a human is needed, or nothing.
func (f *Follow) Human(ctx context.Context) (string, error) {
	b, err := f.look(ctx)
	if err != nil || b == nil {
		return "", err
	}
	return f.human(*b), nil
}

// look reads the board. It is nil where the database does not answer and may come back.
func (f *Follow) look(ctx context.Context) (*Board, error) {
	now := f.IO.Now()
	if f.Warn != nil && now.Sub(f.warnedAt) >= warnInterval {
		f.warning, f.warnedAt = f.Warn(ctx), now
		f.warned++
		if f.warning == "" {
			f.warned = 0
		}
	}
	b, err := f.Read(ctx, f.warning)
	switch {
	case err == nil:
		f.away = time.Time{}
		return &b, nil
	case runbook.AsRefusal(err) != nil:
		return nil, err
	case f.away.IsZero():
		f.away = now
	case now.Sub(f.away) > outagePatience:
		return nil, fmt.Errorf("the roll call goes on, but it cannot be watched: %w", err)
	}
	return nil, nil
}

// human says why a human is needed, where that is asked for. Something that stands still twice in a row needs one as
// well.
func (f *Follow) human(b Board) string {
	if !f.UntilHuman || b.State != runbook.RestoreRunning {
		return ""
	}
	if why := b.NeedsHuman(); why != "" || f.warned < 2 {
		return why
	}
	return b.Warning
}

// show writes the board: over the one before on a terminal, else as a line for each change, not more often than
// printer.LineInterval. The last one is always written.
func (f *Follow) show(b Board, last bool) error {
	if f.screen != nil {
		return f.screen.Draw(listRows, func(w io.Writer, rows int) error {
			return errors.Join(b.Text(w, rows), footer(w, b, last))
		})
	}
	what := printer.TallyLine(b.RestoreStatus) + printer.Lower(b.State) + b.NeedsHuman() + b.Warning
	if what == f.told || !last && b.At.Sub(f.toldAt) < printer.LineInterval {
		return nil
	}
	f.told, f.toldAt = what, b.At
	line := []byte(clock(b.At) + " " + b.Line() + "\n")
	if f.JSON {
		var err error
		if line, err = printer.JSONLine(b); err != nil {
			return err
		}
	} else if b.Warning != "" {
		line = append(line, "warning: "+printer.OneLine(b.Warning)+"\n"...)
	}
	if _, err := f.IO.Stdout.Write(line); err != nil {
		return fmt.Errorf("write how the roll call goes: %w", err)
	}
	return nil
}

func footer(w io.Writer, b Board, last bool) error {
	if last {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s  Ctrl-C ends the watch; the roll call goes on.\n", clock(b.At))
	return err
}
