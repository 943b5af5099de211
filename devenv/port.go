package devenv

import (
	"fmt"
	"net"
	"strconv"
)

const loopback = "127.0.0.1"

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

func portIsFree(port int) bool {
	l, err := net.Listen("tcp", hostPort(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
