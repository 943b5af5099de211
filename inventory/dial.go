package inventory

import (
	"context"
	"net"
	"time"
)

// lostAfter is when a connection to the database whose other end is silent is given up, and when an attempt at a new one is: a
// host that died and a network that was cut tell nobody. TCP by itself waits for a quarter of an hour, for which a process
// whose connections all lead to the old host would not use the one that has taken over. A server that takes long for a
// statement is not silent, as its system answers.
const lostAfter = 10 * time.Second

// dialer opens the connections to the database, for the driver.
type dialer struct{ net.Dialer }

func newDialer() *dialer {
	return &dialer{net.Dialer{
		Timeout:         lostAfter,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: lostAfter / 2, Interval: lostAfter / 2, Count: 2},
		Control:         giveUpAfter(lostAfter),
	}}
}

// DialTimeout is what the driver calls where no context can end the attempt.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}
