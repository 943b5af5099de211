package printer

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

const (
	// columnGap is how many columns are between two cells of a table at least; narrowGap where the screen is narrow.
	columnGap = 3
	narrowGap = 2
	// A column is cut to these widths at least. The first one, and that of names, are cut less.
	leastName  = 20
	leastWidth = 5
	// nameFirst is how much wider than the others these two may stay.
	nameFirst = 12
)

// table is a table as it is drawn: cells in lines, and how wide each column is.
type table struct {
	lines  [][]string
	widths []int
	gap    int
	// state reports which columns hold states.
	state []bool
	// name is the column of names, which are cut in the middle: what tells two apart is often at the end. -1 is none.
	name int
	// text is the column of sentences, which are not cut but wrapped by the terminal; -1 is none.
	text int
	look terminal
}

// Table writes rows under headers, in columns as kubectl draws them. Without headers it writes the rows alone. Cells
// are measured as a terminal draws them: a wide character takes two columns. On a terminal the table is cut to the
// width of the screen, states last, and states have colours.
func Table(w io.Writer, headers []string, rows [][]string) error {
	return (&Columns{}).Write(w, headers, rows)
}

// Columns are a table that is written in several pieces. A column stays as wide as it was before; its zero value is a
// table of which nothing is written.
type Columns struct{ widths []int }

// Write writes more rows, as Table does.
func (c *Columns) Write(w io.Writer, headers []string, rows [][]string) error {
	all := rows
	if headers != nil {
		all = append([][]string{headers}, rows...)
	}
	t := table{
		lines: make([][]string, len(all)), gap: columnGap, look: look(w),
		name: slices.Index(headers, "NAME"), text: slices.Index(headers, "MESSAGE"),
	}
	t.widths, t.state = append(t.widths, c.widths...), make([]bool, len(c.widths))
	for i, row := range all {
		for _, cell := range row {
			t.add(i, OneLine(cell))
		}
	}
	c.widths = append([]int{}, t.widths...)
	if t.look.width > 0 {
		t.fit()
	}
	for i, line := range t.lines {
		if _, err := fmt.Fprintln(w, t.draw(line, headers != nil && i == 0)); err != nil {
			return err
		}
	}
	return nil
}

// add puts a cell into the line i.
func (t *table) add(i int, cell string) {
	k := len(t.lines[i])
	t.lines[i] = append(t.lines[i], cell)
	if k == len(t.widths) {
		t.widths, t.state = append(t.widths, 0), append(t.state, false)
	}
	t.widths[k] = max(t.widths[k], uniseg.StringWidth(cell))
	t.state[k] = t.state[k] || isState(cell)
}

// fit makes columns narrower, the widest first, until a line fits the screen or none can be cut any more. Then it
// leaves the last columns out.
func (t *table) fit() {
	if t.width() > t.look.width {
		t.gap = narrowGap
	}
	for _, sparing := range []bool{true, false} {
		for t.width() > t.look.width {
			k := t.widest(sparing)
			if k < 0 {
				break
			}
			t.widths[k]--
		}
	}
	for last := len(t.widths) - 1; t.width() > t.look.width && last > 1 && last != t.text; last-- {
		t.widths = t.widths[:last]
	}
}

func (t *table) width() int {
	sum := t.gap * (len(t.widths) - 1)
	for k, w := range t.widths {
		if k != t.text {
			sum += w
		}
	}
	return sum
}

// widest is the column that can best be cut; sparing leaves states alone. It is -1 where there is none.
func (t *table) widest(sparing bool) int {
	best, most := -1, 0
	for k, w := range t.widths {
		least, bonus := leastWidth, 0
		if k == 0 || k == t.name {
			least, bonus = leastName, nameFirst
		}
		if k != t.text && w > least && w-bonus > most && !(sparing && t.state[k]) {
			best, most = k, w-bonus
		}
	}
	return best
}

// draw is a line of the table.
func (t *table) draw(line []string, header bool) string {
	var b strings.Builder
	for k, cell := range line[:min(len(line), len(t.widths))] {
		if k == t.name {
			cell = cutMiddle(cell, t.widths[k])
		}
		cell = cut(cell, t.widths[k])
		fill := strings.Repeat(" ", t.widths[k]-uniseg.StringWidth(cell)+t.gap)
		if t.look.colour && !header {
			cell = paint(cell)
		}
		b.WriteString(cell + fill)
	}
	return strings.TrimRight(b.String(), " ")
}

// cutMiddle shortens a name to width, and keeps its beginning and its end. A name of wide characters stays as it is.
func cutMiddle(s string, width int) string {
	if len(s) <= width || len(s) != uniseg.StringWidth(s) {
		return s
	}
	end := (width - 1) / 2
	return s[:width-1-end] + "…" + s[len(s)-end:]
}

// cut shortens s to the columns of a terminal that it may take.
func cut(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	left := width - 1
	for state := -1; s != ""; {
		var cluster string
		var w int
		cluster, s, w, state = uniseg.FirstGraphemeClusterInString(s, state)
		if left -= w; left < 0 {
			break
		}
		b.WriteString(cluster)
	}
	return b.String() + "…"
}
