package simulator_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/simulator"
)

// world is one test's gateway and its fleet, in a bubble where time is free: minutes pass as soon as no one has
// anything to do, and a goroutine that is left over fails the test.
type world struct {
	t       *testing.T
	ca      *authority.CA
	caKey   string
	gateway *gateway
	pipes   *pipes
	cfg     simulator.Config
}

// inWorld runs a test in a world of its own. Certificates are made inside, as the bubble's clock begins in 2000.
func inWorld(t *testing.T, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, pipes: newPipes()}
		dir := t.TempDir()
		w.caKey = filepath.Join(dir, "ca.key")
		var err error
		w.ca, err = authority.LoadOrMake(filepath.Join(dir, "ca.crt"), w.caKey)
		require.NoError(t, err)
		w.gateway = newGateway(w)
		w.cfg = simulator.Config{
			Gateway: "https://gateway.test:7443", CA: w.ca, Seed: 7, Dial: w.pipes.dial,
			Timing: simulator.BriskTiming(),
		}
		defer w.serve()()
		test(w)
	})
}

// serve answers over TLS, with client certificates required, as the gateway does.
func (w *world) serve() (stop func()) {
	pair, err := w.ca.Server([]string{"gateway.test"}, 24*time.Hour)
	require.NoError(w.t, err)
	certificate, err := pair.TLS()
	require.NoError(w.t, err)
	server := &http.Server{
		Handler: w.gateway, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: w.ca.Pool(),
		},
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(w.pipes, "", "") }()
	return func() {
		require.NoError(w.t, server.Close())
		require.ErrorIs(w.t, <-done, http.ErrServerClosed)
	}
}

// device adds a device that the service knows and has rendered at this version.
func (w *world) device(name string, version uint64) {
	w.gateway.render(name, version)
	w.cfg.Devices = append(w.cfg.Devices,
		simulator.Device{
			Name: name, Restored: text(version), Status: []byte(`{"acme":{"kept":true},"systemInfo":{"bootID":"first"}}`),
		})
}

// fleet makes the agents.
func (w *world) fleet() *simulator.Fleet {
	w.t.Helper()
	f, err := simulator.New(w.t.Context(), w.cfg)
	require.NoError(w.t, err)
	return f
}

// run lets the fleet live for a while, and returns how it stands then; after that it has ended.
func (w *world) run(f *simulator.Fleet, lasts time.Duration, meanwhile ...func()) simulator.Summary {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan simulator.Summary, 1)
	go func() { ended <- f.Run(ctx) }()
	for _, do := range meanwhile {
		time.Sleep(lasts) // of the bubble's time: until then everything has happened that can
		do()
	}
	time.Sleep(lasts)
	alive := f.Summary()
	cancel()
	last := <-ended
	synctest.Wait()
	require.Zero(w.t, w.pipes.open.Load(), "no connection is left")
	require.Equal(w.t, last.Agents,
		int(last.States[simulator.StateEnded]+last.States[simulator.StateDenied])+last.Fates[simulator.NeverBack])
	return alive
}

// pipes are connections in memory. It is the network, on both sides.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
	// open are the clients' ends that are not closed.
	open atomic.Int64
	// away makes it refuse whoever dials.
	away atomic.Bool
}

func newPipes() *pipes { return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if p.away.Load() {
		return nil, errors.New("connection refused")
	}
	ours, pipe := net.Pipe()
	theirs := buffer(pipe, nil)
	var err error
	select {
	case p.accepted <- theirs:
		p.open.Add(1)
		return buffer(ours, func() { p.open.Add(-1) }), nil
	case <-p.closed:
		err = errors.New("connection refused")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, theirs.Close(), ours.Close())
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// buffered is a pipe whose writes do not wait for a reader, as with a kernel between the two: TLS relies on that.
type buffered struct {
	net.Conn
	mu     sync.Mutex
	closed bool
	ended  func()
	queue  chan []byte
}

func buffer(c net.Conn, ended func()) *buffered {
	b := &buffered{Conn: c, ended: ended, queue: make(chan []byte, 1000)}
	go func() {
		defer c.Close()
		for text := range b.queue {
			if _, err := c.Write(text); err != nil {
				return
			}
		}
	}()
	return b
}

func (b *buffered) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	select {
	case b.queue <- bytes.Clone(text):
	default: // no one reads any more
	}
	return len(text), nil
}

func (b *buffered) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		_ = b.SetReadDeadline(time.Unix(1, 0))              // it hears nothing more, from now on
		_ = b.SetWriteDeadline(time.Now().Add(time.Second)) // what is under way arrives where someone reads
		close(b.queue)
		if b.ended != nil {
			b.ended()
		}
	}
	return nil
}
