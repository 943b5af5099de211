package fake

import (
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const window = time.Minute

// limit counts the requests of each address in windows of a minute. Those of the window before count by the part of it
// that a sliding minute still covers.
type limit struct {
	most int
	now  func() time.Time

	mu     sync.Mutex
	counts map[string]*counted
}

type counted struct {
	window       int64
	now, earlier int
}

func newLimit(most int, now func() time.Time) *limit {
	return &limit{most: most, now: now, counts: map[string]*counted{}}
}

// allow reports whether the address may make one more request, which then counts.
func (l *limit) allow(address string) bool {
	if l.most < 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.now().UnixNano()
	current, into := at/int64(window), at%int64(window)
	c := l.counts[address]
	if c == nil {
		c = &counted{window: current}
		l.counts[address] = c
	}
	switch current - c.window {
	case 0:
	case 1:
		c.window, c.earlier, c.now = current, c.now, 0
	default:
		c.window, c.earlier, c.now = current, 0, 0
	}
	rate := float64(c.earlier)*float64(int64(window)-into)/float64(window) + float64(c.now)
	if int(math.Round(rate)) >= l.most {
		return false
	}
	c.now++
	return true
}

// limited answers 429 to an address that makes too many requests.
func (f *FlightControl) limited(l *limit, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		if l.allow(host) {
			next.ServeHTTP(w, r)
			return
		}
		f.count("429")
		w.Header().Set("Retry-After", strconv.Itoa(int(window.Seconds())))
		fail(w, http.StatusTooManyRequests, "TooManyRequests", "Rate limit exceeded, please try again later")
	})
}
