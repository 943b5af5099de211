package printer

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/rivo/uniseg"
)

// What a terminal is told: to show another screen and to come back, to start at the top, and to forget what stands
// behind a line or below the last one.
const (
	screenEnter   = "\x1b[?1049h\x1b[?25l"
	screenLeave   = "\x1b[?25h\x1b[?1049l"
	screenTop     = "\x1b[H"
	screenLineEnd = "\x1b[K\r\n"
	screenEnd     = "\x1b[K\x1b[J"
)

// Screen shows one text over another on the terminal behind Stdout. When it is closed the terminal is as it was
// before, with the last text below.
type Screen struct {
	io   IO
	last []byte
	open bool
}

// NewScreen is a screen that has shown nothing yet.
func NewScreen(streams IO) *Screen { return &Screen{io: streams} }

// CanDraw reports whether Stdout is a terminal that can be drawn on.
func CanDraw(streams IO) bool {
	kind, _ := streams.Env("TERM")
	return streams.IsTerminal(streams.Stdout) && kind != "dumb"
}

// Draw shows what text writes. text is given how many rows its lists may have, less and less until all fits the
// screen.
func (s *Screen) Draw(mostRows int, text func(w io.Writer, rows int) error) error {
	width, height := s.io.size()
	var drawn []byte
	for rows := min(mostRows, height); rows >= 0; rows-- {
		var buffer bytes.Buffer
		if err := text(terminal{Writer: &buffer, width: width, colour: s.io.colour()}, rows); err != nil {
			return err
		}
		drawn = buffer.Bytes()
		if linesOn(drawn, width) < height {
			break
		}
	}
	s.last = drawn
	return s.show(cutLines(string(drawn), width, height-1))
}

func (s *Screen) show(text string) error {
	var b strings.Builder
	if !s.open {
		s.open = true
		b.WriteString(screenEnter)
	}
	b.WriteString(screenTop + strings.ReplaceAll(text, "\n", screenLineEnd) + screenEnd)
	if _, err := io.WriteString(s.io.Stdout, b.String()); err != nil {
		return fmt.Errorf("draw on the terminal: %w", err)
	}
	return nil
}

// Close gives the terminal back, and leaves the last text on it.
func (s *Screen) Close() {
	if s.open {
		// A terminal that is gone needs nothing given back.
		_, _ = io.WriteString(s.io.Stdout, screenLeave+string(s.last))
		s.open = false
	}
}

// drawing is what tells a terminal how to draw and takes no room itself.
var drawing = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// room is how many lines of a screen a line takes.
func room(line string, width int) int {
	return max(1, (uniseg.StringWidth(drawing.ReplaceAllString(line, ""))+width-1)/width)
}

func linesOn(text []byte, width int) (n int) {
	for line := range strings.Lines(string(text)) {
		n += room(strings.TrimSuffix(line, "\n"), width)
	}
	return n
}

// cutLines is as much of the beginning of text as fits so many lines.
func cutLines(text string, width, height int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if height -= room(strings.TrimSuffix(line, "\n"), width); height < 0 {
			break
		}
		b.WriteString(line)
	}
	return b.String()
}
