package flightctl

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// closeGrace is how long Close waits for writes that were sent. Flight Control resumes 500 devices in about 3 s.
const closeGrace = 8 * time.Second

// write sends a request that changes something, and waits for its answer until ctx ends. The request itself goes on
// then, for longestCall at most. Flight Control breaks off what it does for a caller that has gone, and the rest is
// never done: a resume that ends so has removed the annotations, and lacks events without which nothing is rendered.
func (c *Client) write(ctx context.Context, req *http.Request, do call) error {
	c.writes.begin()
	answered := make(chan error, 1)
	go func() {
		defer c.writes.end()
		answered <- c.exchange(req.WithContext(context.WithoutCancel(ctx)), do)
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return notAnswered(do.op, ctx.Err())
	}
}

// writes counts the writes that are under way.
type writes struct {
	mu   sync.Mutex
	n    int
	done chan struct{} // closed when the last of them ends
}

func (w *writes) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == 0 {
		w.done = make(chan struct{})
	}
	w.n++
}

func (w *writes) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 {
		close(w.done)
	}
}

// wait waits until none is under way, and at most for d.
func (w *writes) wait(d time.Duration) {
	w.mu.Lock()
	n, done := w.n, w.done
	w.mu.Unlock()
	if n == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
