package agentapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"rollcall/inventory"
)

const (
	// looksAtOnce is how many devices one look of held polls reads at most: what their fleets are to be rendered from is read
	// for each of them, and that may be long.
	looksAtOnce = 100
	// looksUnderWay is how many looks use the database at a time, so that they leave it to those who come.
	looksUnderWay = 2
)

// errNotLooked is what a look says that was not carried out.
var errNotLooked = errors.New("where the device stands was not read")

// looks reads where the devices of held polls stand, many at a time: each poll looks every half a minute, and a fleet's polls
// would take a database's time with reads of one row each. A look waits for others for a moment, as nobody hurries who has
// waited for that long.
type looks struct {
	read   func(ctx context.Context, names []string) (map[string]inventory.AgentDevice, error)
	window time.Duration
	// ctx is done when nobody is to look any more.
	ctx  context.Context
	stop context.CancelFunc
	// turn has room for those that are under way.
	turn chan struct{}

	mu   sync.Mutex
	next *look
}

// newLooks is for polls that look every so often, of which a look waits for others for a sixtieth.
func newLooks(every time.Duration, read func(context.Context, []string) (map[string]inventory.AgentDevice, error)) *looks {
	l := &looks{read: read, window: every / 60, turn: make(chan struct{}, looksUnderWay)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// look is one of many. What was found is there once done is closed.
type look struct {
	names []string
	done  chan struct{}
	found map[string]inventory.AgentDevice
	err   error
}

// join makes a device one of those that the next look reads.
func (l *looks) join(name string) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.next
	if one == nil {
		one = &look{done: make(chan struct{}), err: errNotLooked}
		l.next = one
		time.AfterFunc(l.window, func() { l.end(one) })
	}
	one.names = append(one.names, name)
	if len(one.names) == looksAtOnce {
		l.next = nil
		go l.carryOut(one)
	}
	return one
}

// end carries a look out that has waited for its time, unless it was full before.
func (l *looks) end(one *look) {
	l.mu.Lock()
	waits := l.next == one
	if waits {
		l.next = nil
	}
	l.mu.Unlock()
	if waits {
		l.carryOut(one)
	}
}

func (l *looks) carryOut(one *look) {
	defer close(one.done)
	select {
	case l.turn <- struct{}{}:
	case <-l.ctx.Done():
		return
	}
	defer func() { <-l.turn }()
	ctx, cancel := bounded(l.ctx) // it is of many polls, and ends with none of them
	defer cancel()
	one.found, one.err = l.read(ctx, one.names)
}

// device is where a device stands, once the look is done. found is false where the look did not find it.
func (one *look) device(name string) (d inventory.AgentDevice, found bool, err error) {
	d, found = one.found[name]
	return d, found, one.err
}
