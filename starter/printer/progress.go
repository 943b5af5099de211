package printer

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"rollcall/runbook"
)

// LineInterval is how far apart the lines of a progress that no one watches are at least.
const LineInterval = 3 * time.Second

// Progress shows how a roll call goes, on stderr: as a bar where a person watches, else as a line for each change, and
// not more often than lineInterval, so that a log of it stays readable.
type Progress struct {
	io   IO
	bar  *progressbar.ProgressBar
	last string
	at   time.Time
	// held is a line that came too early after the one before it.
	held string
}

// NewProgress is a progress that has shown nothing yet.
func NewProgress(streams IO) *Progress { return &Progress{io: streams} }

// Show brings the progress up to date.
func (p *Progress) Show(status runbook.RestoreStatus) {
	if status.Total == 0 && status.State == runbook.RestoreRunning {
		return // the fleet is not on the roll yet
	}
	if p.io.IsTerminal(p.io.Stderr) {
		p.draw(status)
		return
	}
	line := TallyLine(status)
	switch now := p.io.Now(); {
	case line == p.last:
		p.held = ""
	case now.Sub(p.at) >= LineInterval || status.State != runbook.RestoreRunning:
		p.write(now, line)
	default:
		p.held = line
	}
}

func (p *Progress) write(now time.Time, line string) {
	fmt.Fprintf(p.io.Stderr, "%s %s\n", now.Local().Format(time.TimeOnly), line)
	p.last, p.at, p.held = line, now, ""
}

func (p *Progress) draw(status runbook.RestoreStatus) {
	if p.bar == nil {
		p.bar = NewBar(p.io, status.Total)
	}
	p.bar.ChangeMax64(max(status.Total, 1))
	n := status.Counts
	p.bar.Describe(fmt.Sprintf("wait %d, paused %d, back %d, withdrawn %d", n[runbook.StateAwaitingReconnect],
		n[runbook.StateConflictPaused], n[runbook.StateNormal], n[runbook.StateWithdrawn]))
	// A bar that cannot be drawn is no reason to stop watching.
	_ = p.bar.Set64(status.Total - status.Waiting())
}

// Close writes what was held back, and leaves the bar on a line of its own.
func (p *Progress) Close() {
	if p.held != "" {
		p.write(p.io.Now(), p.held)
	}
	if p.bar != nil {
		_ = p.bar.Exit()
		fmt.Fprintln(p.io.Stderr)
		p.bar = nil
	}
}

// NewBar is a bar on stderr that counts to total.
func NewBar(streams IO, total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(max(total, 1),
		progressbar.OptionSetWriter(streams.Stderr),
		progressbar.OptionSetWidth(16),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionShowDescriptionAtLineEnd(),
	)
}

// TallyLine is the tally in one line.
func TallyLine(status runbook.RestoreStatus) string {
	n := status.Counts
	return fmt.Sprintf("restore %s, %s: %d wait, %d paused, %d back, %d withdrawn", status.RestoreID,
		Count(status.Total, "device"),
		n[runbook.StateAwaitingReconnect], n[runbook.StateConflictPaused], n[runbook.StateNormal], n[runbook.StateWithdrawn])
}
