package pgdial_test

import (
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"rollcall/inventory"
	"rollcall/inventory/pgdial"
)

// Only a cut cable would show what the option does; here is that the driver's connections have it.
func TestAConnectionWhoseServerIsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	opened := make(chan error, 1)
	go func() {
		_, err := inventory.Open(t.Context(), "postgres://unknown@"+listener.Addr().String()+"/nothing?sslmode=disable")
		opened <- err
	}()
	server, err := listener.Accept()
	require.NoError(t, err)
	require.EqualValues(t, []int64{pgdial.LostAfter.Milliseconds()}, userTimeouts(t, listener.Addr().(*net.TCPAddr).Port))
	require.NoError(t, server.Close())
	require.Error(t, <-opened)
}

// userTimeouts are the TCP_USER_TIMEOUTs, in milliseconds, of this process's connections to a port of this machine.
func userTimeouts(t *testing.T, port int) (found []int64) {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, file := range files {
		fd, err := strconv.Atoi(file.Name())
		require.NoError(t, err)
		peer, err := unix.Getpeername(fd)
		if err != nil {
			continue // no socket, or not connected
		}
		if to, ok := peer.(*unix.SockaddrInet4); !ok || to.Port != port {
			continue
		}
		limit, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		require.NoError(t, err)
		found = append(found, int64(limit))
	}
	return found
}
