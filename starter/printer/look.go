package printer

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"rollcall/runbook"
)

// The size of a screen that does not tell.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// terminal is a writer that a person watches. Tables fit its width and show states in colour.
type terminal struct {
	io.Writer
	// width is that of the screen; 0 lets a line be as long as it is.
	width int
	// colour is false with NO_COLOR, and where the terminal has none.
	colour bool
}

// ForPeople makes what is written to Stdout fit the screen, and colours states there, where a person watches. A pipe
// gets plain text.
func (s IO) ForPeople() IO {
	watched := s.IsTerminal
	s.IsTerminal = func(w io.Writer) bool {
		if t, ok := w.(terminal); ok {
			w = t.Writer
		}
		return watched(w)
	}
	if watched(s.Stdout) {
		width, _ := s.size()
		s.Stdout = terminal{Writer: s.Stdout, width: width, colour: s.colour()}
	}
	return s
}

// colour reports whether the environment allows colours: NO_COLOR (no-color.org) and a terminal that has none forbid
// them.
func (s IO) colour() bool {
	no, _ := s.Env("NO_COLOR")
	kind, _ := s.Env("TERM")
	return no == "" && kind != "dumb"
}

// size is the size of the screen behind Stdout.
func (s IO) size() (width, height int) {
	if s.Size != nil {
		width, height = s.Size(s.Stdout)
	}
	if width <= 0 || height <= 0 {
		return defaultWidth, defaultHeight
	}
	return width, height
}

// Whole is w for text that may be longer than the screen is wide.
func Whole(w io.Writer) io.Writer {
	if t, ok := w.(terminal); ok {
		t.width = 0
		return t
	}
	return w
}

// onto is buffer with the looks of w.
func onto(buffer, w io.Writer) io.Writer {
	if t, ok := w.(terminal); ok {
		t.Writer = buffer
		return t
	}
	return buffer
}

// look is what is known of the terminal behind w; of anything else it is nothing.
func look(w io.Writer) terminal {
	t, _ := w.(terminal)
	return t
}

// Colours as ECMA-48 numbers them.
const (
	bad     = "31" // red
	good    = "32" // green
	waiting = "33" // yellow
	over    = "2"  // faint
)

// colours are those of the states that tables show. The word itself is always there.
var colours = map[string]string{
	string(runbook.StateConflictPaused):    bad,
	string(runbook.StateAwaitingReconnect): waiting,
	string(runbook.StateNormal):            good,
	string(runbook.StateWithdrawn):         over,
	string(runbook.RestoreRunning):         waiting,
	string(runbook.RestoreCompleted):       good,
	string(runbook.RestoreSuperseded):      over,
	string(runbook.RestoreCancelled):       over,
	runbook.SummaryOnline:                  good,
	runbook.UpdatedUpToDate:                good,
	"Error":                                bad,
	"Degraded":                             bad,
	"Pending":                              waiting,
	"Approved":                             good,
	"Denied":                               bad,
	"Warning":                              bad,
}

// paint is a table's cell in the colour of its state; what is not a state has none.
func paint(cell string) string {
	colour := colours[cell]
	if strings.HasPrefix(cell, "refused") {
		colour = bad
	}
	if colour == "" {
		return cell
	}
	return "\x1b[" + colour + "m" + cell + "\x1b[0m"
}

// isState reports whether a cell is one that must not be cut short.
func isState(cell string) bool { return colours[cell] != "" }

// screenSize is the size of the terminal that a file is; 0 where it is none.
func screenSize(w io.Writer) (width, height int) {
	if t, ok := w.(terminal); ok {
		w = t.Writer
	}
	file, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	width, height, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}
