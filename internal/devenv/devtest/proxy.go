package devtest

import (
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy forwards connections to a server, until it is frozen: then it is silent to both ends and closes nothing, as a
// host that has lost its power, or its network.
type Proxy struct {
	server, address string
	mu              sync.Mutex
	thawed          *sync.Cond
	frozen          bool
	open            []net.Conn
	ended           bool
}

// NewProxy starts a proxy in front of the database of a URL, and returns it with the URL that leads through it.
func NewProxy(t testing.TB, database string) (*Proxy, string) {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{server: u.Host, address: listener.Addr().String()}
	p.thawed = sync.NewCond(&p.mu)
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(listener, &serving) })
	t.Cleanup(func() {
		_ = listener.Close()
		p.end()
		serving.Wait()
	})
	u.Host = p.address
	return p, u.String()
}

// Address is host:port of the proxy.
func (p *Proxy) Address() string { return p.address }

// Freeze makes the proxy silent.
func (p *Proxy) Freeze() { p.set(true) }

// Thaw lets what was held back go on, and all that follows.
func (p *Proxy) Thaw() { p.set(false) }

func (p *Proxy) set(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = frozen
	p.thawed.Broadcast()
}

func (p *Proxy) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.thawed.Broadcast()
	for _, conn := range p.open {
		_ = conn.Close()
	}
}

func (p *Proxy) serve(listener net.Listener, serving *sync.WaitGroup) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, client, server)
		p.mu.Unlock()
		serving.Go(func() { p.forward(client, server) })
		serving.Go(func() { p.forward(server, client) })
	}
}

func (p *Proxy) forward(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.awaitThaw() || err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// awaitThaw waits while the proxy is frozen, and reports whether it is to go on.
func (p *Proxy) awaitThaw() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen && !p.ended {
		p.thawed.Wait()
	}
	return !p.ended
}
