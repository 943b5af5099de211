package agentapi

import (
	"context"
	"slices"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// watch wakes held polls when their device moves: one query each tick, however many polls there are. While the database
// is away nothing moves, and afterwards it goes on where it was.
func (g *Gateway) watch(ctx context.Context) {
	tick := time.NewTicker(g.cfg.WatchEvery)
	defer tick.Stop()
	var at *cursor
	away, swept := false, time.Now()
	for {
		err := g.readMoves(ctx, &at)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != away {
			away = err != nil
			g.cfg.Logger.Warn("Watching for devices that move", "works", !away, "error", err)
		}
		if now := time.Now(); now.Sub(swept) > sweepEvery {
			g.reportDedup.sweep(now)
			g.enrolls.sweep(now)
			g.renewed.Sweep(now)
			swept = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (g *Gateway) readMoves(ctx context.Context, at **cursor) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if *at == nil {
		last, err := g.cfg.Store.LastMove(ctx)
		if err == nil {
			*at = &cursor{last: last}
			g.polls.wakeAll() // what moved between a poll's own look and this first one is in no later one
		}
		return err
	}
	moves, err := g.cfg.Store.Moves(ctx, (*at).ranges())
	if err != nil {
		return err
	}
	now := time.Now()
	for _, m := range moves {
		(*at).note(m.ID, now)
		g.noteMove(m)
	}
	(*at).forget(now)
	g.flow.expire(now)
	g.callSome(now)
	return nil
}

// noteMove wakes the polls of a device, but for one that was put on a roll: that waits to be called.
func (g *Gateway) noteMove(m inventory.Moved) {
	switch {
	case m.OrgID != g.cfg.OrgID:
	case m.Transition == runbook.T1:
		g.uncalled.add(m)
	default:
		g.flow.answered(m.Name)
		g.polls.wake(m.Name)
	}
}

// uncalled are the devices of the newest roll whose polls are still to be woken for it, in the order in which they were
// put on it.
type uncalled struct {
	restoreID string
	names     []string
}

// add puts a device behind the others of its roll. A newer one takes over all devices of an older.
func (u *uncalled) add(m inventory.Moved) {
	if u.restoreID != m.RestoreID {
		*u = uncalled{restoreID: m.RestoreID}
	}
	u.names = append(u.names, m.Name)
}

// callsPerSecond is how many polls from before T1 are ended in a second. A restore puts a whole fleet on its roll
// within seconds, and its agents all at once would leave no room for its own work.
const callsPerSecond = 200

// callSome wakes polls of devices that were put on a roll: what their agents said before is no answer to it. Those that
// are not called by then come when their poll ends.
func (g *Gateway) callSome(now time.Time) {
	u := &g.uncalled
	for len(u.names) > 0 {
		if g.polls.has(u.names[0]) {
			if !g.calls.AllowN(now, 1) {
				return
			}
			g.polls.wake(u.names[0])
		}
		u.names = u.names[1:]
	}
	u.names = nil
}

// A transaction takes its numbers before it commits, so that a lower number may become visible after a higher one.
// What is missing is looked for until its transaction cannot be under way any more; a number that was rolled back
// never comes. Past this a poll finds out by its own slow look.
const (
	gapTimeout = 30 * time.Second
	maxGaps    = 500
)

// cursor is how far the audit has been read: all numbers up to last, but for the gaps.
type cursor struct {
	last int64
	gaps []gap
}

type gap struct {
	inventory.IDs
	since time.Time
}

// ranges are the numbers to ask for.
func (c *cursor) ranges() []inventory.IDs {
	ranges := make([]inventory.IDs, 0, len(c.gaps)+1)
	for _, g := range c.gaps {
		ranges = append(ranges, g.IDs)
	}
	return append(ranges, inventory.After(c.last))
}

// note marks a number as read.
func (c *cursor) note(id int64, now time.Time) {
	if id > c.last {
		if id > c.last+1 {
			c.gaps = append(c.gaps, gap{inventory.IDs{From: c.last + 1, To: id - 1}, now})
		}
		c.last = id
		return
	}
	i := slices.IndexFunc(c.gaps, func(g gap) bool { return g.From <= id && id <= g.To })
	if i < 0 {
		return
	}
	g := c.gaps[i]
	var rest []gap
	if g.From < id {
		rest = append(rest, gap{inventory.IDs{From: g.From, To: id - 1}, g.since})
	}
	if id < g.To {
		rest = append(rest, gap{inventory.IDs{From: id + 1, To: g.To}, g.since})
	}
	c.gaps = slices.Replace(c.gaps, i, i+1, rest...)
}

// forget drops the gaps that no one will fill.
func (c *cursor) forget(now time.Time) {
	c.gaps = slices.DeleteFunc(c.gaps, func(g gap) bool { return now.Sub(g.since) > gapTimeout })
	if over := len(c.gaps) - maxGaps; over > 0 {
		c.gaps = slices.Delete(c.gaps, 0, over)
	}
}
