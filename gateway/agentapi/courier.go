package agentapi

import (
	"sync"
	"time"

	"rollcall/runbook"
)

// repeatAfter is when the same report is told again. An agent in a loop must not fill the history of its workflow; one
// whose report was lost with a workflow that somebody terminated must be heard at its next poll.
const repeatAfter = 10 * time.Second

// courier remembers the last report of each device that was told, and when. Its zero value is empty.
type courier struct {
	mu   sync.Mutex
	last map[string]toldReport
}

// report is what a device says, and to which roll call in which state.
type report struct {
	restoreID string
	state     runbook.State
	version   string
}

type toldReport struct {
	report
	at time.Time
}

// told tells whether the device's last report was this one, a moment ago.
func (c *courier) told(name string, r report, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.last[name]
	return ok && last.report == r && now.Sub(last.at) < repeatAfter
}

func (c *courier) keep(name string, r report, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[string]toldReport{}
	}
	c.last[name] = toldReport{r, now}
}

// sweepEvery is how often sweep is called.
const sweepEvery = time.Minute

// sweep forgets what is too old to matter.
func (c *courier) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, last := range c.last {
		if now.Sub(last.at) >= repeatAfter {
			delete(c.last, name)
		}
	}
}
