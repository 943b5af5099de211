package agentapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"rollcall/inventory"
)

const (
	// batchReadSize bounds how many devices one batch reads. The rows that a device is rendered from are read with it,
	// and may be long.
	batchReadSize = 100
	// batchReadsAtOnce is how many batches use the database at a time, which leaves it free for new requests.
	batchReadsAtOnce = 2
)

// errNotRead is the error of a batch that did not run.
var errNotRead = errors.New("where the device stands was not read")

// batchReader reads the devices of held polls, many at a time. Each poll reads its device every half a minute, and a
// fleet's polls would load the database with reads of one row each. A batch waits a moment for more polls to join it.
type batchReader struct {
	read   func(ctx context.Context, names []string) (map[string]inventory.AgentDevice, error)
	window time.Duration
	// ctx is done when the gateway ends.
	ctx  context.Context
	stop context.CancelFunc
	// turn bounds the batches that run.
	turn chan struct{}

	mu   sync.Mutex
	next *batchRead
}

// newBatchReader returns a reader for polls that read every so often. A batch waits a sixtieth of that for more polls.
func newBatchReader(every time.Duration,
	read func(context.Context, []string) (map[string]inventory.AgentDevice, error),
) *batchReader {
	l := &batchReader{read: read, window: every / 60, turn: make(chan struct{}, batchReadsAtOnce)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// batchRead is one read of many devices. Its result is set once done is closed.
type batchRead struct {
	names []string
	done  chan struct{}
	found map[string]inventory.AgentDevice
	err   error
}

// join adds a device to the next batch.
func (l *batchReader) join(name string) *batchRead {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.next
	if one == nil {
		one = &batchRead{done: make(chan struct{}), err: errNotRead}
		l.next = one
		time.AfterFunc(l.window, func() { l.end(one) })
	}
	one.names = append(one.names, name)
	if len(one.names) == batchReadSize {
		l.next = nil
		go l.run(one)
	}
	return one
}

// end runs a batch whose time is over, unless it was full before.
func (l *batchReader) end(one *batchRead) {
	l.mu.Lock()
	waits := l.next == one
	if waits {
		l.next = nil
	}
	l.mu.Unlock()
	if waits {
		l.run(one)
	}
}

func (l *batchReader) run(one *batchRead) {
	defer close(one.done)
	select {
	case l.turn <- struct{}{}:
	case <-l.ctx.Done():
		return
	}
	defer func() { <-l.turn }()
	ctx, cancel := bounded(l.ctx) // no single poll's context: the batch serves many
	defer cancel()
	one.found, one.err = l.read(ctx, one.names)
}

// device returns a device of a batch that is done. found is false where the batch did not find it.
func (one *batchRead) device(name string) (d inventory.AgentDevice, found bool, err error) {
	d, found = one.found[name]
	return d, found, one.err
}
