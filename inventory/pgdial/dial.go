// Package pgdial opens the connections to the database so that a silent server is given up within seconds.
package pgdial

import (
	"context"
	"net"
	"time"
)

// LostAfter is when a connection to the database whose other end is silent is given up, and when an attempt at a new
// one is: a host that died and a network that was cut tell no one. TCP by itself waits for a quarter of an hour, for
// which a process whose connections all lead to the old host would not use the one that has taken over. A server that
// takes long for a statement is not silent, as its system answers.
const LostAfter = 10 * time.Second

// Dialer opens the connections to the database, for the driver.
type Dialer struct{ net.Dialer }

// New makes a Dialer.
func New() *Dialer {
	return &Dialer{net.Dialer{
		Timeout:         LostAfter,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: LostAfter / 2, Interval: LostAfter / 2, Count: 2},
		Control:         giveUpAfter(LostAfter),
	}}
}

// DialTimeout is what the driver calls where no context can end the attempt.
func (d *Dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}
