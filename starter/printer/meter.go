package printer

import (
	"fmt"

	"github.com/schollz/progressbar/v3"
)

// meterFrom is how many devices it takes until a person wants to see that something happens.
const meterFrom = 10

// meter shows a person how many of many are done; where no one watches it shows nothing.
type meter struct {
	io  IO
	bar *progressbar.ProgressBar
}

// NewMeter is a meter that counts to total.
func NewMeter(streams IO, total int) *meter {
	if total < meterFrom || !streams.IsTerminal(streams.Stderr) {
		return &meter{}
	}
	return &meter{io: streams, bar: NewBar(streams, int64(total))}
}

// Step counts one more. It may be called from several goroutines.
func (m *meter) Step() {
	if m.bar != nil {
		// A bar that cannot be drawn is no reason to stop.
		_ = m.bar.Add(1)
	}
}

// Set says how many are done in all.
func (m *meter) Set(done int) {
	if m.bar != nil {
		_ = m.bar.Set(done)
	}
}

// Close leaves the meter on a line of its own.
func (m *meter) Close() {
	if m.bar != nil {
		fmt.Fprintln(m.io.Stderr)
	}
}
