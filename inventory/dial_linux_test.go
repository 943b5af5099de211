package inventory

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Only a cut cable would show what the option does; here is that the driver's connections have it.
func TestAConnectionWhoseServerIsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := newDialer().DialContext(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	socket, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, socket.Control(func(fd uintptr) {
		limit, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		require.NoError(t, err)
		require.EqualValues(t, lostAfter.Milliseconds(), limit)
	}))
	require.NoError(t, conn.Close())
}
