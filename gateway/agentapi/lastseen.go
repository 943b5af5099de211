package agentapi

import (
	"context"
	"maps"
	"sync"
	"time"
)

// lastSeen holds when devices last polled, until that is stored. A status stores its own time. Its zero value is ready
// to use.
type lastSeen struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (s *lastSeen) note(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[string]time.Time{}
	}
	if at.After(s.at[name]) {
		s.at[name] = at
	}
}

// take empties s and returns how long ago each device polled.
func (s *lastSeen) take(now time.Time) map[string]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	ago := make(map[string]time.Duration, len(s.at))
	for name, at := range maps.All(s.at) {
		ago[name] = now.Sub(at)
	}
	s.at = nil
	return ago
}

// storeLastSeen stores the times every SeenEvery, and once more at the end.
func (g *Gateway) storeLastSeen(ctx context.Context) {
	tick := time.NewTicker(g.cfg.SeenEvery)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		g.storeSeen()
	}
}

// storeSeen stores the times since the last call. Where that fails they are kept for the next call.
func (g *Gateway) storeSeen() {
	now := time.Now()
	ago := g.lastSeen.take(now)
	if len(ago) == 0 {
		return
	}
	ctx, cancel := bounded(context.Background()) // also at the end, when all else is over
	defer cancel()
	if err := g.cfg.Store.MarkSeen(ctx, g.cfg.OrgID, ago); err != nil {
		g.cfg.Logger.Warn("When devices were last seen is not stored", "devices", len(ago), "error", err)
		for name, since := range ago {
			g.lastSeen.note(name, now.Add(-since))
		}
	}
}
