package inventory_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
	"rollcall/inventory"
)

// countingURL leads to the same database by a proxy that counts round trips: what a client sends and then waits for,
// which in PostgreSQL's protocol are a Sync and a simple Query.
func countingURL(t *testing.T, address string) (counting string, trips *atomic.Int64) {
	u, err := url.Parse(address)
	require.NoError(t, err)
	server := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	trips = &atomic.Int64{}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(client, server, trips)
		}
	}()
	u.Host = listener.Addr().String()
	return u.String(), trips
}

func forward(client net.Conn, server string, trips *atomic.Int64) {
	defer client.Close()
	to, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(client, to)
		_ = client.Close()
	}()
	_ = forwardMessages(to, bufio.NewReader(client), trips)
}

// forwardMessages copies a client's messages: the first has no type, any other begins with one, and each has its
// length.
func forwardMessages(to io.Writer, from *bufio.Reader, trips *atomic.Int64) error {
	for kind := byte(0); ; {
		head := []byte{}
		if kind != 0 {
			head = append(head, 0)
		}
		head = append(head, 0, 0, 0, 0)
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}
		if kind != 0 {
			kind = head[0]
		}
		if kind == 'S' || kind == 'Q' {
			trips.Add(1)
		}
		size := int64(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
		if _, err := to.Write(head); err != nil {
			return err
		}
		if n, err := io.CopyN(to, from, size); err != nil || n != size {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		kind = 1
	}
}

// Round trips are what a transition waits for; they do not vary, and must not creep.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	address := devtest.Database(t)
	setup := openStore(t, address)
	for i := range 40 {
		versioned(fmt.Sprintf("d%02d", i), "5").create(t, setup)
	}
	counting, trips := countingURL(t, address)
	store := openStore(t, counting)
	store.DB().SetMaxOpenConns(2) // one for a transaction, one to prepare a statement on
	openRestore(t, store, "r1")

	during := func(do func()) int64 {
		before := trips.Load()
		do()
		return trips.Load() - before
	}
	var part inventory.RollResult
	in := inventory.RollInput{RestoreID: "r1", Limit: 20}
	put := func() {
		var err error
		part, err = store.PutOnRoll(t.Context(), in)
		require.NoError(t, err)
		in = part.Next(in)
	}
	require.EqualValues(t, 8, during(put),
		"begin, commit, and four statements, of which the driver prepares the two that have arguments")
	require.Equal(t, 20, part.Put)
	require.EqualValues(t, 7, during(put), "what is to be known of the table is asked only once")
	require.Equal(t, 20, part.Put)

	send(t, store, reconnectOf("d00", "5")) // prepares the statement
	require.EqualValues(t, 1, during(func() { send(t, store, reconnectOf("d01", "5")) }), "T2")
	require.EqualValues(t, 1, during(func() { send(t, store, reconnectOf("d02", "7")) }), "T3")

	// What a human does, and what is not as the caller thinks, is decided on locked rows, in a transaction.
	require.EqualValues(t, 10, during(func() { send(t, store, reconnectOf("d02", "8")) }), "the report of a paused device")
	require.EqualValues(t, 9, during(func() { send(t, store, resumeOf("d02", "bob")) }), "T4")
	require.EqualValues(t, 10, during(func() { send(t, store, resumeOf("d02", "carol")) }), "a resume that comes second")
	require.EqualValues(t, 15, during(func() { send(t, store, withdrawOf("d03", true)) }), "T5")
}
