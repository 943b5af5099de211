package main

import (
	"fmt"

	"github.com/schollz/progressbar/v3"
)

// meterFrom is how many devices it takes until a person wants to see that something happens.
const meterFrom = 10

// meter shows a person how many of many are done; where nobody watches it shows nothing.
type meter struct {
	io  IO
	bar *progressbar.ProgressBar
}

func newMeter(streams IO, total int) *meter {
	if total < meterFrom || !streams.IsTerminal(streams.Stderr) {
		return &meter{}
	}
	return &meter{io: streams, bar: newBar(streams, int64(total))}
}

// step counts one more. It may be called from several goroutines.
func (m *meter) step() {
	if m.bar != nil {
		// A bar that cannot be drawn is no reason to stop.
		_ = m.bar.Add(1)
	}
}

func (m *meter) close() {
	if m.bar != nil {
		fmt.Fprintln(m.io.Stderr)
	}
}
