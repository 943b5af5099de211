package devenv

import (
	"fmt"
	"net"
	"strconv"
)

const (
	loopback = "127.0.0.1"
	maxPort  = 1<<16 - 1
)

// freePorts finds a TCP port on the loopback address for each of wanted: the wanted one where it is free, any free one
// where it is taken or 0. The ports differ from each other.
func freePorts(wanted ...int) ([]int, error) {
	ports := make([]int, 0, len(wanted))
	for _, want := range wanted {
		l, err := net.Listen("tcp", hostPort(want))
		if err != nil {
			l, err = net.Listen("tcp", hostPort(0))
		}
		if err != nil {
			return nil, fmt.Errorf("find a free port on %s: %w", loopback, err)
		}
		// Held until all are found, or the next could be the same.
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// blockAttempts: above a free port there is nearly always another.
const blockAttempts = 100

// freePortBlock finds n free TCP ports in a row, and returns the first: wanted where all of them are free, or else any.
func freePortBlock(wanted, n int) (int, error) {
	for range blockAttempts {
		ports, err := freePorts(wanted)
		if err != nil {
			return 0, err
		}
		if blockIsFree(ports[0], n) {
			return ports[0], nil
		}
		wanted = 0
	}
	return 0, fmt.Errorf("find %d free ports in a row on %s: not found in %d attempts", n, loopback, blockAttempts)
}

func blockIsFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		if port > maxPort || !portIsFree(port) {
			return false
		}
	}
	return true
}

func portIsFree(port int) bool {
	l, err := net.Listen("tcp", hostPort(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
