package agentapi

import (
	"context"
	"sync"

	"rollcall/inventory"
)

// notesAtOnce is how many reports one statement notes at most.
const notesAtOnce = 500

// notes writes reports to the roll, those of the same moment in one statement: a fleet reports at once when a restore
// begins. A report that comes while no statement runs is not kept waiting.
type notes struct {
	write func(ctx context.Context, reports []inventory.NoteReportInput) ([]inventory.Noted, error)

	mu      sync.Mutex
	waiting []*noting
	running bool
}

// noting is a report that is being noted. What became of it is there once done is closed.
type noting struct {
	inventory.NoteReportInput
	done chan struct{}
	// found reports whether a restore waits for the device's first report.
	found bool
	noted inventory.Noted
	err   error
}

// note writes a report and returns once that is committed. found is false where no restore waits for the device's first
// report.
func (n *notes) note(
	ctx context.Context, report inventory.NoteReportInput,
) (noted inventory.Noted, found bool, err error) {
	one := &noting{NoteReportInput: report, done: make(chan struct{})}
	n.mu.Lock()
	n.waiting = append(n.waiting, one)
	if !n.running {
		n.running = true
		go n.run()
	}
	n.mu.Unlock()
	select {
	case <-one.done:
		return one.noted, one.found, one.err
	case <-ctx.Done():
		return noted, false, ctx.Err()
	}
}

// run writes what waits until nothing does.
func (n *notes) run() {
	for next := n.next(); len(next) > 0; next = n.next() {
		n.writeAll(next)
	}
}

// next takes the oldest reports, of each device one, so that the newer one of a device is written later.
func (n *notes) next() []*noting {
	n.mu.Lock()
	defer n.mu.Unlock()
	var next, left []*noting
	taken := map[string]bool{}
	for _, one := range n.waiting {
		if len(next) < notesAtOnce && !taken[one.Name] {
			taken[one.Name] = true
			next = append(next, one)
			continue
		}
		left = append(left, one)
	}
	n.waiting, n.running = left, len(next) > 0
	return next
}

func (n *notes) writeAll(some []*noting) {
	reports := make([]inventory.NoteReportInput, len(some))
	for i, one := range some {
		reports[i] = one.NoteReportInput
	}
	ctx, cancel := bounded(context.Background()) // it is of many, and ends with none of them
	defer cancel()
	noted, err := n.write(ctx, reports)
	byName := make(map[string]inventory.Noted, len(noted))
	for _, found := range noted {
		byName[found.Name] = found
	}
	for _, one := range some {
		one.noted, one.found = byName[one.Name]
		one.err = err
		close(one.done)
	}
}
