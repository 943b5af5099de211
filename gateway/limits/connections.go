package limits

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// counts counts what keys have open. Its zero value is empty.
type counts struct {
	mu    sync.Mutex
	byKey map[string]int
}

// enter counts one more, unless the key has most already.
func (c *counts) enter(key string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[key] >= most {
		return false
	}
	if c.byKey == nil {
		c.byKey = map[string]int{}
	}
	c.byKey[key]++
	return true
}

func (c *counts) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[key]--; c.byKey[key] == 0 {
		delete(c.byKey, key)
	}
}

// Listen bounds how many connections each source address has open at a listener. One too many is closed before a byte
// of it is read, and refused is called.
func Listen(listener net.Listener, most int, refused func()) net.Listener {
	return &bounded{Listener: listener, most: most, refused: refused}
}

type bounded struct {
	net.Listener
	most    int
	refused func()
	open    counts
}

// Accept is net.Listener's.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := Source(conn.RemoteAddr().String())
		if b.open.enter(source, b.most) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { b.open.leave(source) })}, nil
		}
		b.refused()
		_ = conn.Close() // it is given up either way
	}
}

type counted struct {
	net.Conn
	leave func()
}

// Close is net.Conn's.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// Connections bounds how many connections of an HTTP server each client has open. A client is known by its first
// request on a connection.
type Connections struct {
	most int
	open counts
	mu   sync.Mutex
	all  map[net.Conn]*connection
}

// connection is one connection; key is whose it is, once that is known.
type connection struct {
	mu  sync.Mutex
	key string
}

type connectionKey struct{}

// NewConnections lets each client have most connections open.
func NewConnections(most int) *Connections {
	return &Connections{most: most, all: map[net.Conn]*connection{}}
}

// Watch makes a server tell of its connections.
func (c *Connections) Watch(server *http.Server) {
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		one := &connection{}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all[conn] = one
		return context.WithValue(ctx, connectionKey{}, one)
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateClosed || state == http.StateHijacked {
			c.close(conn)
		}
	}
}

// Admit reports whether the connection of a request is within the bound of its client. The others are to be closed.
func (c *Connections) Admit(r *http.Request, client string) bool {
	one, watched := r.Context().Value(connectionKey{}).(*connection)
	if !watched {
		return true
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.key != "" {
		return true
	}
	if !c.open.enter(client, c.most) {
		return false
	}
	one.key = client
	return true
}

func (c *Connections) close(conn net.Conn) {
	c.mu.Lock()
	one := c.all[conn]
	delete(c.all, conn)
	c.mu.Unlock()
	if one == nil {
		return
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.key != "" {
		c.open.leave(one.key)
		one.key = ""
	}
}
