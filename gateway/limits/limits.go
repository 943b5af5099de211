// Package limits bounds what one client may cost a gateway: how often it may do something, and how many connections it
// may have.
package limits

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates lets each key do something so many times in a while, and as many at once. A key is whatever is counted, such as
// an address.
type Rates struct {
	most  int
	limit rate.Limit
	mu    sync.Mutex
	byKey map[string]*rate.Limiter
}

// NewRates returns the rates of keys that have done nothing yet and may do something most times in each while.
func NewRates(most int, while time.Duration) *Rates {
	return &Rates{most: most, limit: rate.Limit(float64(most) / while.Seconds()), byKey: map[string]*rate.Limiter{}}
}

// Allow counts one more, and reports whether that is within the rate.
func (r *Rates) Allow(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	limiter := r.byKey[key]
	if limiter == nil {
		limiter = rate.NewLimiter(r.limit, r.most)
		r.byKey[key] = limiter
	}
	return limiter.AllowN(now, 1)
}

// Sweep forgets the keys that may do as much as one that is not known.
func (r *Rates) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, limiter := range r.byKey {
		if limiter.TokensAt(now) >= float64(r.most) {
			delete(r.byKey, key)
		}
	}
}

// Source is the address that a client counts as: a whole network of 64 bits for IPv6, where one host has as many
// addresses as it likes.
func Source(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	network, _ := address.Prefix(64) // an address of IPv6 has more bits
	return network.String()
}
