package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"rollcall/runbook"
)

// lineInterval is how far apart the lines of a progress that nobody watches are at least.
const lineInterval = 3 * time.Second

// progress shows how a roll call goes, on stderr: as a bar where a person watches, else as a line for each change, and
// not more often than lineInterval, so that a log of it stays readable.
type progress struct {
	io   IO
	bar  *progressbar.ProgressBar
	last string
	at   time.Time
	// held is a line that came too early after the one before it.
	held string
}

func newProgress(streams IO) *progress { return &progress{io: streams} }

// show brings the progress up to date.
func (p *progress) show(status runbook.RestoreStatus) {
	if status.Total == 0 && status.State == runbook.RestoreRunning {
		return // the fleet is not on the roll yet
	}
	if p.io.IsTerminal(p.io.Stderr) {
		p.draw(status)
		return
	}
	line := tallyLine(status)
	switch now := p.io.Now(); {
	case line == p.last:
		p.held = ""
	case now.Sub(p.at) >= lineInterval || status.State != runbook.RestoreRunning:
		p.write(now, line)
	default:
		p.held = line
	}
}

func (p *progress) write(now time.Time, line string) {
	fmt.Fprintf(p.io.Stderr, "%s %s\n", now.Local().Format(time.TimeOnly), line)
	p.last, p.at, p.held = line, now, ""
}

func (p *progress) draw(status runbook.RestoreStatus) {
	if p.bar == nil {
		p.bar = newBar(p.io, status.Total)
	}
	p.bar.ChangeMax64(max(status.Total, 1))
	n := status.Counts
	p.bar.Describe(fmt.Sprintf("wait %d, paused %d, back %d, withdrawn %d", n[runbook.StateAwaitingReconnect],
		n[runbook.StateConflictPaused], n[runbook.StateNormal], n[runbook.StateWithdrawn]))
	// A bar that cannot be drawn is no reason to stop watching.
	_ = p.bar.Set64(status.Total - status.Waiting())
}

// close writes what was held back, and leaves the bar on a line of its own.
func (p *progress) close() {
	if p.held != "" {
		p.write(p.io.Now(), p.held)
	}
	if p.bar != nil {
		_ = p.bar.Exit()
		fmt.Fprintln(p.io.Stderr)
		p.bar = nil
	}
}

// newBar is a bar on stderr that counts to total.
func newBar(streams IO, total int64) *progressbar.ProgressBar {
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

// tallyLine is the tally in one line.
func tallyLine(status runbook.RestoreStatus) string {
	n := status.Counts
	return fmt.Sprintf("restore %s, %s: %d wait, %d paused, %d back, %d withdrawn", status.RestoreID, count(status.Total, "device"),
		n[runbook.StateAwaitingReconnect], n[runbook.StateConflictPaused], n[runbook.StateNormal], n[runbook.StateWithdrawn])
}
