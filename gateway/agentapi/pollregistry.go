package agentapi

import "sync"

// pollRegistry holds the polls that are held, by the name of their device. Its zero value is ready to use.
type pollRegistry struct {
	mu     sync.Mutex
	byName map[string]map[chan struct{}]struct{}
}

// join registers a poll, which is woken when its device moves. A poll joins before it reads its device, so that it
// misses no move.
func (w *pollRegistry) join(name string) (woken <-chan struct{}, leave func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byName == nil {
		w.byName = map[string]map[chan struct{}]struct{}{}
	}
	if w.byName[name] == nil {
		w.byName[name] = map[chan struct{}]struct{}{}
	}
	w.byName[name][ch] = struct{}{}
	return ch, func() { w.leave(name, ch) }
}

func (w *pollRegistry) leave(name string, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byName[name], ch)
	if len(w.byName[name]) == 0 {
		delete(w.byName, name)
	}
}

// has reports whether the device has polls that are held.
func (w *pollRegistry) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.byName[name]) > 0
}

// wake wakes the polls of a device. A poll that has not read since the last wake is woken once.
func (w *pollRegistry) wake(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked(name)
}

// wakeAll wakes every poll.
func (w *pollRegistry) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.byName {
		w.wakeLocked(name)
	}
}

func (w *pollRegistry) wakeLocked(name string) {
	for ch := range w.byName[name] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// openRequests counts the requests that each device has open. Its zero value is empty.
type openRequests struct {
	mu     sync.Mutex
	byName map[string]int
}

// enter counts one more, unless the device has limit open; leave ends it.
func (o *openRequests) enter(name string, limit int) (leave func(), ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byName == nil {
		o.byName = map[string]int{}
	}
	if o.byName[name] >= limit {
		return nil, false
	}
	o.byName[name]++
	return func() { o.leave(name) }, true
}

func (o *openRequests) leave(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byName[name]--; o.byName[name] == 0 {
		delete(o.byName, name)
	}
}
