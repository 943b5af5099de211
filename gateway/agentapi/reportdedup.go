package agentapi

import (
	"sync"
	"time"

	"rollcall/runbook"
)

// repeatAfter is after how long the same report is sent again. An agent in a loop must not fill the history of its
// workflow. A report that was lost with a terminated workflow must be sent again at the agent's next poll.
const repeatAfter = 10 * time.Second

// reportDedup remembers the last report of each device, and when it was sent. Its zero value is ready to use.
type reportDedup struct {
	mu   sync.Mutex
	last map[string]toldReport
}

// report is a version that a device has reported, with the restore and the state in which it did.
type report struct {
	restoreID string
	state     runbook.State
	version   string
}

type toldReport struct {
	report
	at time.Time
}

// isRepeated reports whether the device's last report was the same and was sent less than repeatAfter ago.
func (d *reportDedup) isRepeated(name string, r report, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, ok := d.last[name]
	return ok && last.report == r && now.Sub(last.at) < repeatAfter
}

func (d *reportDedup) remember(name string, r report, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		d.last = map[string]toldReport{}
	}
	d.last[name] = toldReport{r, now}
}

// isRecent reports whether any report of the device was sent less than repeatAfter ago.
func (d *reportDedup) isRecent(name string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, ok := d.last[name]
	return ok && now.Sub(last.at) < repeatAfter
}

// sweepEvery is how often sweep runs.
const sweepEvery = time.Minute

// sweep forgets the reports that are older than repeatAfter.
func (d *reportDedup) sweep(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, last := range d.last {
		if now.Sub(last.at) >= repeatAfter {
			delete(d.last, name)
		}
	}
}
